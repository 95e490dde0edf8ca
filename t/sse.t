#!/usr/bin/env perl

# Server-sent events on the URL of the WebSocket: if this fails, a page behind
# a proxy that blocks WebSocket sees nothing, sees it late or twice, sees what
# it may not, or keeps a worker from its reload.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Elapsed qw( time );
use Fanout::Nginx;
use Fanout::Stream;


my $version = `@{[ Fanout::Nginx::binary() ]} -v 2>&1`;
my ($minor) = $version =~ m{/1\.(\d+)};
my ($listen, $on) = $minor >= 25 ? ('', 'http2 on;') : ('http2', '');

my $locations = <<'END';
        fanout_drain 300ms;
        access_log %%DIR%%/access.log;
        location /rt    { fanout app; fanout_permit all *;
                          fanout_retry 3s;
                          fanout_channels_per_session 60; }
        location /beat  { fanout app; fanout_permit all *; fanout_ping 200ms;
                          fanout_timeout 300ms; }
        location /user  { fanout app; fanout_user $arg_user;
                          fanout_permit join,history open:*;
                          fanout_permit join quiet:*; }
        location /few   { fanout app; fanout_permit all *; fanout_sessions 1;
                          fanout_channels_per_session 2; fanout_history 10; }
        location /other { fanout app; fanout_permit all *;
                          fanout_origin same https://app.example; }
        location /ws    { fanout app; fanout_permit all *;
                          fanout_transports websocket; }
        location /raw   { fanout app; fanout_permit all *;
                          fanout_dialect raw; }
        location /gzip  { gzip on; gzip_types *; gzip_http_version 1.0;
                          gzip_min_length 1;
                          fanout app; fanout_permit all *; }
        location /fanout { fanout_api app; }
        location = /status { fanout_status app; }
END

my $nginx = Fanout::Nginx->start(
    tls    => 1,
    http   => 'fanout_zone app 32m;
               fanout_channel app none* ;
               fanout_channel app * history=1000 ttl=1h;',
    server => $locations,
    servers => "server { listen 127.0.0.1:%%PORT1%% $listen; $on $locations }",
);

my ($one, $two) = $nginx->worker_pids;


sub status { $nginx->http->get('/status')->json }


sub publish {
    my ($channel, $data, %o) = @_;

    my $r = $nginx->http(%o)->post("/fanout/channels/$channel/messages",
                                   $data);
    die "publish: $r->{status} $r->{body}\n" if $r->{status} !~ /^2/;

    return $r->json;
}


sub stream { Fanout::Stream->new($nginx, @_) }


sub refused {
    my ($path, $status, $why, $name, %headers) = @_;

    my $r = $nginx->http->get($path, headers => { %headers });

    is($r->{status}, $status, "$name: $status");
    like($r->{headers}{'content-type'}, qr{^application/json},
         'an error in JSON');
    like($r->json->{error}{message}, $why, 'that says why');
}


subtest 'a stream' => sub {
    my $s = stream('/rt', channels => [ 'a', 'b c', "\xc3\xa4/&=" ],
                   worker => $one);
    my $h = $s->response->{headers};

    is($h->{'content-type'}, 'text/event-stream', 'is one');
    is($h->{'cache-control'}, 'no-cache, no-transform',
       'is not cached, nor compressed by a proxy');
    is($h->{'x-accel-buffering'}, 'no', 'nor held back by a proxy');
    is($h->{'connection'}, 'close', 'ends with its connection');
    is($h->{'transfer-encoding'}, 'chunked', 'and is in chunks');
    ok(!exists $h->{'content-length'}, 'nor of a length');

    like($s->welcome->{client}, qr/^c_[0-9a-f]{16}$/, 'has a client');
    like($s->welcome->{resume}, qr/^r_[0-9a-f]{48}$/, 'and its token');
    ok($s->retry >= 3000 && $s->retry <= 4500, 'says when to come back');
    ok($s->joined("\x{e4}/&="), 'has joined by an encoded name')
        or diag(explain($s->{joined}));
    is($s->joined('a')->{offset}, 0, 'at the end of each');

    for my $i (1 .. 30) {
        publish('a', qq({"i":$i}), worker => $i % 2 ? $one : $two)
            if $i % 3 == 0;
        publish('b%20c', qq({"i":$i})) if $i % 3 == 1;
        publish('%C3%A4%2F%26%3D', qq({"i":$i})) if $i % 3 == 2;
    }

    my @got = map { $s->next_push } 1 .. 30;

    is_deeply([ map { $_->{data}{i} } @got ], [ 1 .. 30 ],
              'all of all channels, in the order of the zone');
    is($got[2]{channel}, 'a', 'with their names');
    is($got[2]{offset}, 1, 'and offsets');
    like($s->last_id, qr/^[0-9a-f]+\.\d+$/, 'one position for all of them');

    my $ws = $nginx->native(path => '/rt');
    $ws->ok(join => channel => 'a');
    $ws->ok(publish => channel => 'a', event => 'e', data => "x\ny\x{2028}",
            key => 'k', meta => { m => 1 });

    my $entry = $s->next_push;
    is_deeply($entry, $ws->next_push, 'an entry is what it is by WebSocket');

    $nginx->http->delete('/fanout/channels/a');

    is($s->next_push->{reset}{reason}, 'purged', 'a reset as well');
};


subtest 'ways to ask for it' => sub {
    for my $path ('/rt?channel=a', '/rt?channel=a&poll=0') {
        my $r = $nginx->http->start('GET', $path);
        is($r->{headers}{'content-type'}, 'text/event-stream', $path);
    }

    refused('/rt', 400, qr/"channel" is missing/, 'no channel',
            Accept => 'text/event-stream');

    my $r = $nginx->http->get('/rt');
    is($r->{status}, 426, 'a request for neither: for a WebSocket');

    my $ws = $nginx->native(path => '/rt?channel=a');
    ok($ws->welcome, 'an upgrade is one in any case');

    refused('/ws?channel=a', 403, qr/fanout_transports/, 'not served');

    $r = $nginx->http->get('/raw?channel=a',
                           headers => { Accept => 'text/event-stream' });
    is($r->{status}, 426, 'the raw dialect has WebSocket only');
};


subtest 'refused before it begins' => sub {
    refused('/rt?channel=', 400, qr/not a name/, 'an empty name');
    refused('/rt?channel=a*', 400, qr/not a name/, 'a pattern');
    refused('/rt?channel=%00', 400, qr/not a name/, 'a control character');
    refused('/rt?channel=%FF', 400, qr/not a name/, 'no UTF-8');
    refused('/rt?channel=' . 'x' x 256, 400, qr/not a name/, 'a long name');
    refused('/rt?channel=a&history=x', 400, qr/"history"/, 'no number');
    refused('/few?channel=a&history=11', 400, qr/fanout_history/, 'too much');
    refused('/few?channel=a&channel=b&channel=c', 400,
            qr/fanout_channels_per_session/, 'too many');
    refused('/rt?channel=a&resume=r_1', 400, qr/secret/, 'a token in a URL');

    refused("/rt?channel=a&lastEventId=$_", 400, qr/position/,
            "position \"$_\"")
        for 'x', '1', '1.', '.1', '1.2.3', '1.2.3-', '1.2-3', '1.2.g-3',
            '1.2.3-4x', '1' x 17 . '.1', '1.' . '1' x 20, '1.2' . '.a-1' x 999;

    refused('/user?channel=secret', 403, qr/fanout_permit join/, 'no right');
    refused('/user?channel=open:1&channel=secret', 403,
            qr/fanout_permit join/, 'one of two');
    refused('/user?channel=quiet:1&history=1', 403, qr/fanout_permit history/,
            'history');
    for my $path ('/rt?channel=a', '/rt?channel=a&poll=1') {
        my $r = $nginx->http->request(GET => $path, body => 'x');
        is($r->{status}, 400, 'a body');
    }

    refused('/rt?channel=a', 403, qr/fanout_origin/, 'an origin',
            Origin => 'https://evil.example');

    my $held = stream('/few', channels => [ 'a' ], worker => $one);
    my $r = $nginx->http(worker => $one)->get('/few?channel=a');
    is($r->{status}, 503, 'a session too many');
    like($r->{body}, qr/fanout_sessions/, 'is told');

    ok(stream('/user', channels => [ 'quiet:1' ]), 'what is permitted is not');
};


subtest 'another origin' => sub {
    my $s = stream('/other', channels => [ 'a' ],
                   headers => { Origin => 'https://app.example' });
    my $h = $s->response->{headers};

    is($h->{'access-control-allow-origin'}, 'https://app.example',
       'may read what it was let in to');
    is($h->{'vary'}, 'Origin', 'and no cache mixes it up');
};


subtest 'history' => sub {
    publish('old', $_) for 1 .. 40;
    publish('older', $_) for 1 .. 3;

    my $s = stream('/rt', channels => [ 'old', 'older' ],
                   query => 'history=5');

    is($s->joined('old')->{offset}, 35, 'the join says what comes');
    is_deeply([ map { $s->next_push->{data} } 1 .. 8 ], [ 36 .. 40, 1 .. 3 ],
              'the newest of each');

    publish('old', 41);
    is($s->next_push->{data}, 41, 'and then what is new, once');
    ok(!$s->next_push(0.2), 'and no more');
};


subtest 'a heartbeat' => sub {
    my $s = stream('/beat', channels => [ 'a' ]);
    my $n = 0;

    while ($n < 3) {
        my $event = $s->next_event(10) or last;
        $n++ if exists $event->{comment};
    }

    is($n, 3, 'is a comment, again and again');

    # somebody who takes nothing, though there is much for him

    my $stuck = stream('/beat', channels => [ 'none1' ], rcvbuf => 4096);
    publish('none1', '"' . 'x' x 60_000 . '"') for 1 .. 200;

    ok($nginx->wait_log(qr/does not read its output|timed out/, 20),
       'who takes nothing for long is cut');

    ok(!$s->eof, 'who does is not') if $s->next_event(5);
};


subtest 'what a client sends on it' => sub {
    my $s = stream('/rt', channels => [ 'a' ]);

    $s->socket->send_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    ok(!$s->next_push(10), 'is the end') ;
    ok($s->eof, 'of the stream');
    ok($s->whole, 'and is said by a last chunk');
};


subtest 'gzip and TLS' => sub {
    my $s = stream('/gzip', channels => [ 'a' ],
                   headers => { 'Accept-Encoding' => 'gzip' });

    ok(!exists $s->response->{headers}{'content-encoding'},
       'is never compressed');

    $s = stream('/rt', channels => [ 'tls' ], tls => 1);
    publish('tls', '"' . 'x' x 50_000 . $_ . '"') for 1 .. 20;

    is(join(',', map { substr $s->next_push->{data}, 50_000 } 1 .. 20),
       join(',', 1 .. 20), 'over TLS');
};


SKIP: {
    skip 'no curl with HTTP/2', 1
        if `curl --version 2>&1` !~ /^Features:.*\bHTTP2\b/m;

    subtest 'HTTP/2' => sub {
        my $url = 'http://127.0.0.1:' . $nginx->port('PORT1');
        my $pid = open my $out, '-|', 'curl', '-siN', '--max-time', 30,
                       '--http2-prior-knowledge',
                       "$url/rt?channel=h2&channel=h2b" or die;

        my $text = '';
        my $read = sub {
            my ($what) = @_;
            my $found = ref $what eq 'CODE' ? $what : sub { $text =~ $what };
            my $end = time + 20;
            while (!$found->() && time < $end) {
                my $in = '';
                vec($in, fileno $out, 1) = 1;
                select $in, undef, undef, 1 or next;
                sysread $out, $text, 65536, length $text or last;
            }
            return $found->();
        };

        ok($read->(qr/"ok".*\nid: \S+\ndata: \{"ok".*\n\n/s), 'begins');
        like($text, qr{^HTTP/2 200}, 'with HTTP/2');

        publish('h2', $_) for 1 .. 50;
        publish('h2b', '"' . 'y' x 60_000 . '"') for 1 .. 30;
        publish('h2', '"the end"');

        ok($read->(qr/"the end"/), 'and goes on');

        my @got = $text =~ /"channel":"h2",[^\n]*"data":(\d+)/g;
        is_deeply(\@got, [ 1 .. 50 ], 'in order');
        ok($read->(sub { (() = $text =~ /"y{60000}"/g) == 30 }),
           'large ones too');

        open my $post, '-|', 'curl', '-s', '--max-time', 20,
             '--http2-prior-knowledge', '-H', 'Content-Type: application/json',
             '-d', '{"id":1,"op":"publish","channel":"h2","data":"post"}',
             "$url/rt" or die;
        my $said = readline($post) // '';

        like($said, qr/^\{"id":1,"ok":/, 'a POST by HTTP/2');
        ok($read->(qr/"data":"post"/), 'is heard');

        $nginx->reload;
        ok($read->(qr/"closing":\{"code":"drain"/), 'a reload is announced');

        local $/;
        my $rest = readline $out;
        ok(close $out, 'and ends the stream as one that is whole')
            or diag("curl: $?");
    };
}


subtest 'a reload' => sub {
    my $s = stream('/rt', channels => [ 'a' ]);

    $nginx->reload;

    my $closing = $s->next_push(20);

    is($closing->{closing}{code}, 'drain', 'is announced');

    while ($s->next_event(10)) { }
    ok($s->eof, 'and ends the stream');
    ok($s->whole, 'as one that is whole');
};


subtest 'the access log' => sub {
    my $s = stream('/rt', channels => [ 'logged' ]);

    my @lines;

    wait_for(sub {
        open my $f, '<', $nginx->dir . '/access.log' or die;
        @lines = grep { /channel=logged/ } <$f>;
    });

    is(@lines, 1, 'has it when the request is let go');
    like($lines[0], qr/ 200 /, 'with its status');
};
