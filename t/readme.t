#!/usr/bin/env perl

# t/README.md: if this fails, a newcomer looks in vain for the tests of an area
# or of a room of src/, or for what a file here is.

use strict;
use warnings;

use File::Find qw( find );
use FindBin;
use Test::More;

my $dir = $FindBin::Bin;
my ($index, $map) = slurp("$dir/README.md")
    =~ /^## Index\n(.*?)^## From source to test\n(.*)/ms
    or BAIL_OUT('t/README.md has no index or no map');


sub slurp {
    my ($path) = @_;

    open my $f, '<', $path or die "$path: $!";
    local $/;

    return readline $f;
}


# what one list has that the other has not

sub missing {
    my ($list, $others) = @_;
    my %there = map { $_ => 1 } @$others;

    return join "\n", grep { !$there{$_} } sort @$list;
}


my @lines  = $index =~ /^- (.*)/mg;
my @listed = map { /^`([^`]+)`: \S/ ? $1 : fail("a file and what it is: $_") }
             @lines;
my (@files, %seen);

find({ no_chdir => 1, wanted => sub {
    push @files, substr $_, length "$dir/" if -f && !m{/\.};
} }, $dir);

subtest 'the index' => sub {
    my @dirs = grep { m{/$} } @listed;

    my @alone = grep {
        my $file = $_;
        $file ne 'README.md' && !grep { index($file, $_) == 0 } @dirs;
    } @files;

    cmp_ok(scalar @alone, '>', 150, 'files');
    is(missing(\@alone, \@listed), '', 'has every file');
    is(missing([ grep { !m{/$} } @listed ], \@files), '', 'and no other');
    is(missing(\@dirs, [ grep { -d "$dir/$_" } @dirs ]), '',
       'its directories exist');
    is(join("\n", grep { $seen{$_}++ } @listed), '', 'names each once');
};


subtest 'the map' => sub {
    my ($layers) = slurp("$dir/../docs/architecture.md")
        =~ /^```layers\n(.*?)^```/ms or die 'no layers in docs/architecture.md';

    my @rooms = $layers =~ /^(\w+)/gm;
    my (@named, @tests);

    for my $row ($map =~ /^(\| *(?:`|\|).*)/mg) {
        my (undef, $room, $topic, $tests) = split / *\| */, $row;

        push @named, $room =~ /`(\w+)`/ if length $room;

        my @all = $tests =~ /`([^`]+)`/g;
        push @tests, @all;
        ok(length $topic && @all, "a topic and tests: $row") if !$topic || !@all;
    }

    is(missing(\@rooms, \@named), '', 'has every room');
    is(missing(\@named, \@rooms), '', 'and no other');

    cmp_ok(scalar @tests, '>', 100, 'tests');
    is(missing(\@tests, \@files), '', 'which exist');
};


is(join("\n", grep { length > 78 } @lines), '', 'a file has one line');

done_testing();
