#!/usr/bin/env perl

# Why a connection was closed: if this fails, a client that is still sending when
# the server gives up on it is reset, takes that for the network, and sends the
# same again; or one that never stops is read from for ever.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Stream;
use Fanout::Tabs;


my $nginx = Fanout::Nginx->start(
    workers => 1,
    tls     => 1,
    stop    => 'quit',
    http    => <<'END',
        fanout_zone app 16m;
        fanout_channel app * history=100;
        fanout_permit all *;
        fanout_origin *;
END
    server => <<'END',
        location /native { fanout app; }
        location /raw    { fanout app; fanout_dialect raw; }
        location /off    { fanout app; lingering_close off; }
        location /short  { fanout app; lingering_time 1s; }
        location /fanout/ { fanout_api app; }
        location /empty  { return 200 "<!doctype html><title>x</title>";
                           default_type text/html; }
        location = /favicon.ico { return 204; }
END
);

my $root    = "$FindBin::Bin/..";
my $modules = $ENV{TEST_WS_MODULES} || "$root/build/ws/node_modules";
my $port    = $nginx->port;
my $tls     = $nginx->port('TLSPORT');
my $more    = 'x' x 4_000_000;

my @bad = (
    [ 1009, 'a message that is too large',
      sub { "\x81\xff" . pack('NN', 0, 10_000_000) . "\0\0\0\0" } ],
    [ 1002, 'a reserved opcode', sub { $_[0]->frame(3, 'x') } ],
    [ 1002, 'no mask', sub { "\x81\x01x" } ],
    [ 1007, 'what is no UTF-8', sub { $_[0]->frame(1, "\xff\xff") } ],
);


for my $tls (0, 1) {
    my $with = $tls ? 'TLS' : 'plain';

    for (@bad) {
        my ($code, $what, $frame) = @$_;

        subtest "$with, $what" => sub {
            my $ws = $nginx->native(path => '/native', tls => $tls);

            $ws->send_bytes($ws->frame(1,
                '{"id":"good","op":"publish","channel":"good","data":1}')
                . $frame->($ws));

            # it only looks after it has sent all it had

            ok($ws->send_bytes($more), 'what it goes on sending is taken');

            my $reply = $ws->reply('good');

            ok($reply && $reply->{ok}, 'what was good before is answered');
            is($ws->wait_close, $code, "and closed with $code");

            1 while $ws->fill(20);
            ok($ws->eof, 'then the server ends');
        };
    }
}


subtest 'a limit' => sub {
    my $ws = $nginx->native(path => '/native', no_pong => 1);

    $ws->send_bytes($ws->frame(9, '') x 101);
    ok($ws->send_bytes($ws->frame(1, 'x' x 60_000)), 'more is taken')
        for 1 .. 40;
    ok($ws->send_bytes($ws->frame(3, $more)), 'and garbage behind');
    is($ws->wait_close, 4429, 'is told');

    1 while $ws->fill(20);
    ok($ws->eof, 'then the server ends');
};


subtest 'an event stream' => sub {
    my $s = Fanout::Stream->new($nginx, '/native', channels => [ 'stream' ]);

    $nginx->http->post('/fanout/channels/stream/messages', '"last"');
    ok($s->socket->send_bytes($more), 'what is sent on it is taken');
    is($s->next_push->{data}, 'last', 'and what was on its way comes');
    ok(!$s->next_push(20) && $s->eof, 'before the end');
};


subtest 'refusals of requests with a body' => sub {
    my %requests = (
        426 => "GET /native HTTP/1.1\r\nHost: x\r\n",
        415 => "POST /native HTTP/1.1\r\nHost: x\r\n",
        413 => "POST /native HTTP/1.1\r\nHost: x\r\n"
             . "Content-Type: application/json\r\n",
        400 => "GET /native?channel=a HTTP/1.1\r\nHost: x\r\n",
        405 => "PUT /fanout/channels/a HTTP/1.1\r\nHost: x\r\n",
        404 => "POST /fanout/nothing HTTP/1.1\r\nHost: x\r\n",
    );

    for my $status (sort keys %requests) {
        my $s = Fanout::Socket->open(port => $port);

        $s->send_bytes($requests{$status} . "Connection: close\r\n"
                       . 'Content-Length: ' . length($more) . "\r\n\r\n");
        ok($s->send_bytes($more), "$status: the body is taken");
        1 while ${ $s->buffer } !~ /\r\n\r\n/ && $s->fill(20);
        like(${ $s->buffer }, qr{^HTTP/1\.1 \d+ }, "$status: and answered");
    }
};


subtest 'bounds' => sub {
    my $endless = sub {
        my ($path, $wait) = @_;

        my $ws = $nginx->native(path => $path);
        my ($sent, $end) = (0, time + 60);

        $ws->send_bytes($ws->frame(3, 'x'));

        while (time < $end) {
            $ws->send_bytes('x' x 65_536) or return $sent;
            $sent += 65_536;
            select undef, undef, undef, $wait if $wait;
        }

        return;
    };

    my $sent = $endless->('/native');

    ok($sent, 'of bytes') or return;
    cmp_ok($sent, '<', 32_000_000, 'some of which were in the kernel');

    ok($endless->('/short', .05), 'of time, lingering_time');
    ok(defined $endless->('/off', .01), 'or none at all, lingering_close');
};


subtest 'ws of npm' => sub {
    -d "$modules/ws" or die "no $modules/ws: t/tools/deps page\n";

    local $ENV{NODE_PATH} = $modules;

    for my $url ("ws://127.0.0.1:$port", "wss://127.0.0.1:$tls") {
        my $line = `node $root/t/ws/close.js $url/native [100000,1000000,4000000]`;

        is_deeply(Fanout::JSON::decode($line || '[]'), [ 1009, 1009, 1009 ],
                  $url);
    }
};


subtest 'Chromium' => sub {
    my $tabs = Fanout::Tabs->start;

    $tabs->open('a', $nginx->uri('/empty'));

    is_deeply($tabs->evaluate('a', <<"END"), [ 1009, 1009, 1009 ],
(async () => {
    const codes = [];

    for (const size of [70000, 100000, 1000000]) {
        codes.push(await new Promise((done) => {
            const ws = new WebSocket("ws://127.0.0.1:$port/native");

            ws.onopen = () => ws.send("x".repeat(size));
            ws.onclose = (e) => done(e.code);
        }));
    }

    return codes;
})()
END
              'is told why');
};


done_testing();
