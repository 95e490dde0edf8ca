#!/usr/bin/perl

# The committed corpora, once through each fuzzer: what once crashed a parser
# or broke the zone must not do so again.

use strict;
use warnings;

use FindBin;
use Test::More;

my $root  = "$FindBin::Bin/..";
my @names = map { m{([^/]+)\.c$} } sort glob "$root/t/fuzz/fuzz_*.c";

plan skip_all => 'there are no fuzzers' if !@names;
plan skip_all => 'fuzzers are built with clang, which is not here'
    if system("$root/t/tools/fuzz", '--able');

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
