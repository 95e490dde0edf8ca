#!/usr/bin/env perl

# src/client without a server: its unit tests in virtual time, its types, its
# size, and the package for npm. If this fails, a page loses messages, waits for
# ever, does not compile with TypeScript, or loads more than was promised.

use strict;
use warnings;

use File::Temp qw( tempdir );
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Fanout::JSON;

my $root    = "$FindBin::Bin/..";
my $modules = $ENV{TEST_CLIENT_MODULES} || "$root/build/client/node_modules";
my $client  = "$root/src/client";
my $dir     = tempdir(CLEANUP => 1);

-d "$modules/esbuild" or die "no $modules/esbuild: t/tools/deps client\n";


sub slurp {
    my ($path) = @_;

    open my $f, '<', $path or die "$path: $!";
    local $/;

    return readline $f;
}


for my $file (glob "$root/t/client/*.test.js") {
    my ($name) = $file =~ m{/(\w+)\.test\.js$};

    subtest $name => sub {
        my $said = `node --test --test-reporter=tap $file 2>&1`;

        while ($said =~ /^( *)(not )?ok \d+ - (.*)\n((?:(?! *(?:not )?ok).*\n)*)/mg) {
            my ($in, $failed, $test, $why) = ($1, $2, $3, $4);

            ok(!$failed, $test) or diag($why) if $in eq '';
        }

        is($?, 0, 'no other trouble') or diag($said);
        unlike($said, qr/unhandledRejection/, 'no rejection is unhandled');
    };
}


my $tsc = "$modules/.bin/tsc --noEmit --strict --target es2022"
        . ' --module nodenext --lib es2022,dom';
my $said = `$tsc $root/t/client/types.ts 2>&1`;

is($said, '', 'types');


# bytes of a bundle, minified and gzipped

sub size {
    my ($name, $code) = @_;

    open my $f, '>', "$dir/$name.js" or die $!;
    print $f $code =~ s{"\./}{"$client/}gr;
    close $f;

    my $out = `$modules/.bin/esbuild $dir/$name.js --bundle --minify \\
               --format=esm --target=es2022 --log-level=warning \\
               --outfile=$dir/$name.min.js 2>&1`;

    is($out, '', "$name: is built");

    my ($size) = `gzip -9 -c $dir/$name.min.js | wc -c` =~ /(\d+)/;

    note("$name: $size bytes");

    return $size;
}


cmp_ok(size('core', 'export { Fanout } from "./core.js";'), '<', 10 * 1024,
       'the core is small');
cmp_ok(size('all', 'export * from "./fanout.js";'), '<', 18 * 1024,
       'so is all of it');
unlike(slurp("$dir/core.min.js"), qr/text\/event-stream|"unlock"/,
       'what is not imported is not in it');


my $pack = Fanout::JSON::decode(
    scalar `cd $client && npm pack --dry-run --json --offline 2> /dev/null`);

# as a list or by name

$pack = ref $pack eq 'ARRAY' ? $pack->[0] : (values %$pack)[0];

my %packed = map { $_->{path} => 1 } @{ $pack->{files} };

for my $file (glob "$client/*.js $client/*/*.js") {
    my ($path) = $file =~ m{^\Q$client\E/(.*)};

    ok($packed{$path}, "$path is in the package");
}

ok($packed{$_}, "so is $_") for qw( fanout.d.ts core.d.ts package.json );

my ($version) = slurp("$root/src/base/version.h")
    =~ /FANOUT_VERSION +"(.*)"/;

is($pack->{version}, $version, 'its version is that of the module');


for my $file (glob "$client/*.js $client/*/*.js $client/*.ts"
                   . " $root/t/client/*.js $root/t/client/*.ts") {
    my @lines = split /\n/, slurp($file);
    my ($name) = $file =~ m{([^/]+)$};
    my @long = grep { utf8::decode($_); length > 80 } @lines;

    is("@long", '', "$name: 80 columns");
    cmp_ok(scalar @lines, '<=', 800, "$name: 800 lines");
}

done_testing();
