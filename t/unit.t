#!/usr/bin/perl

# Every program of t/unit, each a subtest: the parsers, the zone and the rest
# that works without NGINX. If one fails, a client can send something that is
# read wrongly, or a killed worker can leave the zone broken.

use strict;
use warnings;

use FindBin;
use Test::More;

my $dir  = $ENV{TEST_UNIT_DIR} || "$FindBin::Bin/../build/unit";
my $only = $ENV{UNIT};

my @names = map { m{([^/]+)\.c$} } sort glob "$FindBin::Bin/unit/*_test.c";

@names = grep { /$only/ } @names if defined $only;

plan skip_all => 'there are no unit tests' if !@names;

run($_) for @names;

done_testing;


# Passes the program's TAP on, indented, as it comes.

sub run {
    my ($name) = @_;

    my ($planned, $run, $failed, $first) = (undef, 0, 0);

    my $pid = open my $out, '-|', "$dir/$name";

    if (!$pid) {
        fail("$name: $dir/$name: $!");
        return;
    }

    while (my $line = readline $out) {
        print "    $line";

        $planned = $1 if $line =~ /^1\.\.(\d+)/;
        $run++ if $line =~ /^(?:not )?ok\b/;

        if ($line =~ /^not ok\b/ && $line !~ /# TODO/i) {
            $failed++;
            $first //= $line;
        }
    }

    close $out;

    my $how = $? & 127 ? 'killed by signal ' . ($? & 127)
            : $?       ? 'exit status ' . ($? >> 8)
            : !defined $planned ? 'no plan'
            : $planned != $run  ? "planned $planned, ran $run"
            : $failed           ? "$failed failed"
            : '';

    ok($how eq '', $name)
        or diag("$name: $how\n", $first ? "  $first" : ());
}
