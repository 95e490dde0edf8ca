#!/usr/bin/env perl

# If this fails, a room of src/ uses one that stands above it, files of a room
# call each other in circles, or a name is defined in two files. docs/architecture.md has the list of the rooms, from the
# roof down. What is listed at the end of this file still climbs, or is still
# defined twice: a line goes when its reason is gone.

use strict;
use warnings;

use FindBin;
use Test::More;

my $root = "$FindBin::Bin/..";
my ($build) = ($ENV{TEST_NGINX_MODULE} // "$root/build/x") =~ m{^(.*)/};

my (%rank, @rooms);

{
    open my $f, '<', "$root/docs/architecture.md" or die $!;
    my ($list) = do { local $/; <$f> } =~ /^```layers\n(.*?)^```/ms
        or die 'no layers in docs/architecture.md';

    @rooms = $list =~ /^(\w+)/gm;
    @rank{reverse @rooms} = 0 .. $#rooms;
}

my %known = (climbs => {}, includes => {}, twice => {});

while (<DATA>) {
    my ($what, $name) = /^(climbs|includes|twice) +(.*\S)/ or next;
    $known{$what}{$name} = 1;
}


# the room of a file: "src" is the front door

sub room {
    my ($path) = @_;

    return $path =~ m{/src/(\w+)/[^/]+$} ? $1 : 'src';
}


# compares what was found, a hash of names to texts, with what is known

sub only_known {
    my ($what, $found, $text) = @_;
    my $known = $known{$what};

    my @new  = map { "$_: $found->{$_}" } grep { !$known->{$_} }
               sort keys %$found;
    my @gone = grep { !$found->{$_} } sort keys %$known;

    is(join("\n", @new), '', $text);
    is(join("\n", @gone), '', 'and what is listed in this file still does');
}


my @files = map { glob } "$root/src/*.[ch]", "$root/src/*/*.[ch]";
my (%defined, %includes);

for my $file (@files) {
    my $room = room($file);
    my ($short) = $file =~ m{/src/(.*)};
    my $last = '';

    open my $f, '<', $file or die "$file: $!";

    while (my $line = <$f>) {
        if ($line =~ /^#include "(?:(\w+)\/)?([\w.]+)"/) {
            my $to = $1 // 'src';
            $includes{"$short $to/$2"} = $to if $rank{$to} > $rank{$room};
        }

        if ($file =~ /c$/ && $last =~ /^[a-z][\w *]*$/ && $line =~ /^(\w+)\(/) {
            push @{ $defined{$1} }, $short;
        }

        $last = $line;
    }
}


subtest 'rooms' => sub {
    my %dirs = map { room($_) => 1 } @files;

    is(join(' ', sort keys %dirs), join(' ', sort @rooms),
       'the list of layers has every room, and no other');
};


subtest 'includes' => sub {
    only_known('includes', \%includes, 'no file includes one of a room above');
};


# Headers of the system are told by NGINX's what they have to define, so the
# first that a file of NGINX reaches is one of NGINX.

sub reached {
    my ($path, $seen) = @_;

    return () if $seen->{$path}++;
    open my $f, '<', $path or die "$path: $!";

    return map {
        /^#include <([^>]+)>/ ? $1
        : /^#include "([^"]+)"/ && -f "$root/src/$1"
            ? reached("$root/src/$1", $seen) : ()
    } <$f>;
}


subtest 'headers of the system' => sub {
    my @late;

    for my $file (grep { /c$/ } @files) {
        my @all = reached($file, {});

        push @late, "$file: $all[0]"
            if grep({ $_ eq 'ngx_config.h' } @all) && $all[0] !~ /^ngx_/;
    }

    is(join("\n", @late), '', 'come behind one of NGINX');
};


subtest 'names' => sub {
    my %twice = map { $_ => join ' ', @{ $defined{$_} } }
                grep { @{ $defined{$_} } > 1 } keys %defined;

    cmp_ok(scalar keys %defined, '>', 1000, 'functions');
    only_known('twice', \%twice, 'no name is defined in two files');
};


subtest 'calls' => sub {
    my %objects = map {
        m{addon/((?:fanout_)?)(\w+)/([^/]+)\.o$}
            && -f ($1 ? "$root/src/$2/$3.c" : "$root/src/$3.c") ? ($_ => $2) : ()
    } glob "$build/nginx/objs/addon/*/*.o";

    plan(skip_all => 'the objects of the module are not here')
        if keys %objects < 50;

    my (%at, %in, %uses, %climbs);

    for my $object (keys %objects) {
        for (`nm '$object'`) {
            ($at{$1}, $in{$1}) = ($objects{$object}, $object)
                if /^\w+ [TDBRC] (\w+)$/;
            $uses{$1}{$object} = 1 if /^ +U (\w+)$/;
        }
    }

    # by this name NGINX has what belongs to a request

    delete $at{ngx_http_fanout_module};

    for my $name (grep { exists $at{$_} } keys %uses) {
        for my $object (keys %{ $uses{$name} }) {
            my ($file) = $object =~ m{([^/]+)\.o$};

            $climbs{"$objects{$object} $name"} = "$file.c calls $at{$name}/"
                if $rank{ $at{$name} } > $rank{ $objects{$object} };
        }
    }

    cmp_ok(scalar(grep { exists $at{$_} } keys %uses), '>', 300,
           'names that one file has of another');
    only_known('climbs', \%climbs, 'no call climbs');

    # files of a room that reach themselves by what they use of one another

    my (%calls, @circles);

    for my $name (grep { exists $at{$_} } keys %uses) {
        for my $object (keys %{ $uses{$name} }) {
            $calls{$object}{ $in{$name} } = 1
                if $at{$name} eq $objects{$object};
        }
    }

    for my $object (sort keys %calls) {
        my %met;
        my @next = keys %{ $calls{$object} };

        while (defined(my $o = shift @next)) {
            push @next, keys %{ $calls{$o} || {} } if !$met{$o}++;
        }

        push @circles, "$objects{$object}/" . ($object =~ m{([^/]+)\.o$})[0]
            if $met{$object};
    }

    cmp_ok(scalar @circles, '<=', 8, 'few files call in circles')
        or diag(join ' ', @circles);
};

done_testing();

__DATA__
