#!/usr/bin/perl

# The committed corpora, once through each fuzzer: what once crashed a parser
# or broke the zone must not do so again. And a few rounds of the fuzzers that are
# clients.

use strict;
use warnings;

use FindBin;
use Test::More;

my $root  = "$FindBin::Bin/..";
my @names = map { m{([^/]+)\.c$} } sort glob "$root/t/fuzz/fuzz_*.c";

my @clients = sort glob "$root/t/fuzz/fuzz_*.pl";

for my $client (@clients) {
    my ($name) = $client =~ m{([^/]+)\.pl$};

    local $ENV{FUZZ_TIME} = 3;
    local $ENV{FUZZ_SEED} = 1;

    my $output = `perl -I$root/t/lib $client 2>&1`;

    is($?, 0, "$name: a few rounds") or diag(tail($output));
}

@names = () if system("$root/t/tools/fuzz", '--able');

for my $name (@names) {
    my ($short) = $name =~ /^fuzz_(.*)/;
    my @inputs  = grep { -f } glob "$root/t/fuzz/corpus/$short/*";

    if (!@inputs) {
        fail("$name has a corpus in t/fuzz/corpus/$short");
        next;
    }

    my $output = `$root/build/fuzz/$name -runs=0 $root/t/fuzz/corpus/$short 2>&1`;

    is($?, 0, "$name: " . @inputs . ' inputs') or diag(tail($output));
}

done_testing;


sub tail {
    my @lines = split /\n/, $_[0];

    splice @lines, 0, -40 if @lines > 40;
    return join "\n", @lines;
}
