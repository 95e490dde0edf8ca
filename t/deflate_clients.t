#!/usr/bin/env perl

# permessage-deflate with clients that others wrote: Chromium, and "ws" of npm.
# If this fails, they refuse what the server agrees to, or can't read what it
# sends, however right it looks to clients of our own.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Tabs;


my $nginx = Fanout::Nginx->start(
    tls  => 1,
    http => <<'END',
        fanout_zone app 16m;
        fanout_rate off;
        fanout_budget off;
        fanout_channel app * history=100;
        fanout_permit all *;
        fanout_origin *;
        fanout_message_size 512k;
        fanout_buffer 2m;
END
    server => <<'END',
        fanout_deflate on;

        location /native { fanout app; }
        location /raw    { fanout app; fanout_dialect raw; }
        location /off    { fanout app; fanout_dialect raw;
                           fanout_deflate off; }
        location /empty  { return 200 "<!doctype html><title>x</title>";
                           default_type text/html; }
        location /status { fanout_status app; }

        location = /favicon.ico { return 204; }
END
);

my $root    = "$FindBin::Bin/..";
my $modules = $ENV{TEST_WS_MODULES} || "$root/build/ws/node_modules";

my $port = $nginx->port;
my $tls  = $nginx->port('TLSPORT');
my $n    = 0;


sub counters {
    my %sums;

    for my $w (@{ $nginx->http->get('/status')->json->{workers} }) {
        $sums{$_} += $w->{counters}{$_} for keys %{ $w->{counters} };
    }

    return \%sums;
}


# one run of t/ws/echo.js

sub echo {
    my ($at, $options, @sizes) = @_;

    local $ENV{NODE_PATH} = $modules;

    my $url = ($at =~ s/^tls:// ? "wss://127.0.0.1:$tls"
                                : "ws://127.0.0.1:$port")
            . "$at?channel=ws-" . $n++;

    open my $node, '-|', 'node', "$root/t/ws/echo.js", $url,
         Fanout::JSON::encode($options), Fanout::JSON::encode(\@sizes)
        or die "node: $!\n";
    my $line = readline $node;
    close $node;

    return $line ? Fanout::JSON::decode($line) : { error => 'no answer' };
}


subtest 'ws of npm' => sub {
    -d "$modules/ws" or die "no $modules/ws: t/tools/deps page\n";

    my @sizes  = (0, 1, 200, 300, 5000, 70000, 200000);
    my $agreed = 'permessage-deflate; server_no_context_takeover; '
               . 'client_no_context_takeover';
    my $false  = Fanout::JSON::false;
    my $true   = Fanout::JSON::true;

    my @table = (
        [ 'as it comes', {}, '' ],
        [ 'all compressed', { threshold => 0 }, '' ],
        [ 'no takeover', { serverNoContextTakeover => $true,
                           clientNoContextTakeover => $true,
                           threshold => 0 }, '' ],
        (map { [ "windows of $_ bits",
                 { serverMaxWindowBits => $_, clientMaxWindowBits => $_,
                   threshold => 0 },
                 '; server_max_window_bits='
                 . ($_ == 15 ? 15 : $_ > 8 ? 9 : 8) ] } 8 .. 15),
    );

    for (@table) {
        my ($name, $options, $bits) = @$_;
        my $got = echo('/raw', $options, @sizes);

        is($got->{error}, undef, $name);
        is($got->{extensions}, "$agreed$bits", "$name: what is agreed on");
        is($got->{same}, 2 * @sizes, "$name: all comes back");
        is($got->{deflated}, 2 * 4, "$name: deflated from 256 bytes on");
    }

    my $got = echo('tls:/raw', { threshold => 0 }, @sizes);
    is($got->{same}, 2 * @sizes, 'over TLS');
    is($got->{deflated}, 2 * 4, 'deflated');

    for ([ '/off', {} ], [ '/raw', $false ]) {
        $got = echo($_->[0], $_->[1], @sizes);
        is($got->{same}, 2 * @sizes, 'without it');
        is($got->{deflated} . $got->{extensions}, '0none', 'nothing is deflated');
    }
};


subtest 'Chromium' => sub {
    my $tabs = Fanout::Tabs->start;

    $tabs->open('a', $nginx->uri('/empty'));

    my $run = sub {
        my ($path, $code) = @_;

        return $tabs->evaluate('a', <<"END");
new Promise((done) => {
    const ws = new WebSocket("ws://127.0.0.1:$port$path");
    const texts = [0, 1, 300, 5000, 70000, 200000].map(
        (n) => Array.from({ length: n }, (_, i) => '{"é":' + i * 7919 + '}')
                    .join("").slice(0, n));
    let next = 0;
    let same = 0;

    ws.onclose = (e) => done({ error: "closed: " + e.code });
    setTimeout(() => done({ error: "timed out" }), 20000);
    $code
})
END
    };

    my $before = counters();

    my $raw = $run->('/raw?channel=chromium', <<'END');
    ws.onopen = () => ws.send(texts[0]);
    ws.onmessage = (e) => {
        same += e.data === texts[next++];
        if (next < texts.length) {
            ws.send(texts[next]);
        } else {
            done({ same, extensions: ws.extensions });
        }
    };
END

    is($raw->{same}, 6, 'raw: all comes back') or diag(explain($raw));
    like($raw->{extensions}, qr/^permessage-deflate/, 'deflate is agreed on');

    my $native = $run->('/native', <<'END');
    ws.onopen = () => ws.send(JSON.stringify(
        texts.slice(0, 5).map((data, i) => ({ op: "publish", data, id: i,
                                              channel: "chromium-native" }))
            .concat({ op: "join", id: 5, channel: "chromium-native",
                      history: 10 })));
    ws.onmessage = (e) => {
        const all = [].concat(JSON.parse(e.data));

        for (const m of all) {
            const got = m.part || m.ok;

            for (const x of got && got.messages || []) {
                same += x.data === texts[next++];
            }

            if (m.id === 5 && m.ok) {
                done({ same });
            }
        }
    };
END

    is($native->{same}, 5, 'native: an array, and history in replies')
        or diag(explain($native));

    my $after = counters();

    cmp_ok($after->{inflated} - $before->{inflated}, '>=', 4,
           'what it sends is deflated');
    cmp_ok($after->{deflated} - $before->{deflated}, '>=', 5,
           'and what it gets');
    is_deeply($tabs->errors('a'), [], 'the console is quiet');
};
