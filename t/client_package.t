#!/usr/bin/env perl

# The package for npm and its plain scripts: if this fails, a page without modules
# has no client, one that loads a single file loads more than was promised, or
# what is installed by npm has no types or no command.

use strict;
use warnings;

use File::Temp qw( tempdir );
use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;
use Fanout::Tabs;


my $root = "$FindBin::Bin/..";
my $dir  = tempdir(CLEANUP => 1);

sub build {
    my ($to) = @_;

    my $said = `$root/t/tools/client $dir/$to 2>&1`;

    return (glob "$dir/$to/*.tgz")[0] if !$?;

    die "t/tools/client: $said";
}


my $tgz = build('one');

ok(system('cmp', '-s', $tgz, build('two')) == 0, 'twice the same, byte for byte');

my %packed = map { s{^package/}{}r => 1 } split /\n/, `tar tzf $tgz`;

ok($packed{$_}, "$_ is packed")
    for qw( fanout.js core.d.ts transports/sse.js bin/fanout.js LICENSE
            dist/fanout.min.js dist/fanout.iife.js );

ok(!-e "$root/src/client/dist", 'nothing is left in the source');


my $nginx = Fanout::Nginx->start(
    http   => 'fanout_zone app 8m; fanout_channel app * history=10;',
    server => <<"END",
        location /realtime { fanout app; fanout_permit all *; }
        location /dist/ {
            root $dir/one/package;
            types { text/javascript js; }
        }
        location = /iife {
            default_type text/html;
            return 200 '<!doctype html><title>x</title><link rel=icon href=data:,><script src=/dist/fanout.iife.js></script>';
        }
        location = /esm {
            default_type text/html;
            return 200 '<!doctype html><title>x</title><link rel=icon href=data:,><script type=module>import * as all from "/dist/fanout.min.js"; Object.assign(window, all)</script>';
        }
END
);

my $tabs = Fanout::Tabs->start;

for my $kind (qw( iife esm )) {
    my $file = "$dir/one/package/dist/fanout." . ($kind eq 'esm' ? 'min' : $kind)
             . '.js';
    my ($size) = `gzip -9 -c $file | wc -c` =~ /(\d+)/;

    cmp_ok($size, '<', 18 * 1024, "$kind: $size bytes");

    $tabs->open($kind, $nginx->uri("/$kind"));
    is($tabs->evaluate($kind, <<'END'), "hello $kind true", 'works in a page');
(async () => {
    const kind = location.pathname.slice(1);
    const hub = new Fanout("/realtime");
    const room = hub.channel(kind);

    await room.join();
    room.publish("hello " + kind);

    for await (const { data } of room) {
        const e = await room.record("x").set({ a: 1 }).catch((e) => e);

        hub.close();
        return data + " " + (e instanceof FanoutError);
    }
})()
END
    is_deeply($tabs->errors($kind), [], 'the console is quiet');
}

is($tabs->evaluate('iife', 'Object.keys(window).filter((k) => /fanout/i.test(k))'
                   . '.sort().join()'), 'Fanout,FanoutError', 'two globals');


subtest 'npm install' => sub {
    open my $f, '>', "$dir/package.json" or die;
    print $f '{"type":"module"}';
    close $f;

    my $said = `cd $dir && npm install --offline --no-audit --no-fund $tgz 2>&1`;

    is($?, 0, 'works') or diag($said);

    my ($version) = $tgz =~ /(\d+\.\d+\.\d+)\.tgz$/;

    is(`$dir/node_modules/.bin/fanout --version`, "$version\n", 'the command');

    for my $path ('', qw( /core.js /dist/fanout.min.js )) {
        is(`cd $dir && node -e 'import("nginx-fanout-client$path")
                .then((m) => console.log(typeof m.Fanout))' 2>&1`,
           "function\n", "nginx-fanout-client$path");
    }
};
