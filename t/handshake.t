#!/usr/bin/env perl

# The opening handshake (RFC 6455, section 4). If this fails, browsers can't
# connect, a page of another site speaks in a visitor's name, or somebody with
# a wrong request is left without a word about what is wrong.

use strict;
use warnings;

use Digest::SHA qw( sha1_base64 );
use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;
use Fanout::Socket;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_channel app * history=10;
END
    server => <<'END',
        location /raw {
            fanout app;
            fanout_dialect raw;
            fanout_permit all *;
        }
        location /native { fanout app; fanout_permit all *; }
        location /any    { fanout app; fanout_permit all *; fanout_origin *; }
        location /list {
            fanout app;
            fanout_permit all *;
            fanout_origin https://one.test https://two.test:8443;
            fanout_origin http://three.test;
        }
        location /both {
            fanout app;
            fanout_permit all *;
            fanout_origin same https://one.test;
        }
        location /user {
            fanout app;
            fanout_user $http_x_user;
            fanout_permit all *;
        }
        location = /plain { return 200 plain; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $key = 'dGhlIHNhbXBsZSBub25jZQ==';


# the whole request, headers as an array of pairs; some are there unless said
# otherwise

sub handshake {
    my ($headers, %o) = @_;

    my %own = map { lc $_->[0] => 1 } @$headers;
    my @all = ((grep { !$own{ lc $_->[0] } }
                [ Host => 'localhost' ], [ Upgrade => 'websocket' ],
                [ Connection => 'Upgrade' ], [ 'Sec-WebSocket-Key' => $key ],
                [ 'Sec-WebSocket-Version' => 13 ]), @$headers);

    return ($o{method} || 'GET') . ' ' . ($o{path} || '/raw?channel=a')
         . ' HTTP/' . ($o{version} || '1.1') . "\r\n"
         . join('', map { "$_->[0]: $_->[1]\r\n" }
                    grep { defined $_->[1] } @all)
         . "\r\n" . (defined $o{body} ? $o{body} : '');
}


sub try {
    my ($headers, %o) = @_;

    return $nginx->ws(expect => undef, request => handshake($headers, %o));
}


sub accepted {
    my ($name, $headers, %o) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $ws = try($headers, %o);

    is($ws->status, 101, $name) or diag($ws->body);
    $ws->cut;
}


sub refused {
    my ($name, $status, $text, $headers, %o) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $ws = try($headers, %o);

    is($ws->status, $status, $name);
    like($ws->body || '', $text, "$name: why");
    $ws->cut;

    return $ws;
}


subtest 'the answer' => sub {
    for my $worker ($one, $two) {
        my $ws = $nginx->ws(worker => $worker, request => handshake([]));

        is($ws->headers->{'sec-websocket-accept'},
           's3pPLMBiTxaQ9kYGzzhZRbK+xOo=', 'the accept value of the RFC');
        like($ws->{head}, qr{^HTTP/1\.1 101 Switching Protocols\r\n},
             'status line');
        is(lc $ws->headers->{upgrade}, 'websocket', 'Upgrade');
        is(lc $ws->headers->{connection}, 'upgrade', 'Connection');
        is($ws->subprotocol, undef, 'no subprotocol that nobody offered');
        is($ws->headers->{'sec-websocket-extensions'}, undef,
           'no extension that nobody offered');
        is($ws->headers->{'content-length'}, undef, 'no body');
        is($ws->headers->{'transfer-encoding'}, undef, 'nor chunks');
        is($ws->headers->{'x-worker'}, $worker, "add_header works");

        $ws->send_text('after');
        is($ws->recv_text, 'after', 'and it is a WebSocket');
    }

    # every base64 character at every place
    for my $k ('AAAAAAAAAAAAAAAAAAAAAA==', '+/+/+/+/+/+/+/+/+/+/+w==',
               'zzzzzzzzzzzzzzzzzzzzzg==')
    {
        my $ws = $nginx->ws(request => handshake([[
            'Sec-WebSocket-Key' => $k
        ]]));

        is($ws->headers->{'sec-websocket-accept'},
           sha1_base64($k . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . '=',
           "accept value for $k");
    }
};


subtest 'names and tokens in any form' => sub {
    accepted("Upgrade: $_", [ [ Upgrade => $_ ] ])
        for 'WebSocket', 'WEBSOCKET', 'websocket, h2c', 'h2c ,websocket',
            ',websocket,,';
    accepted("Connection: $_", [ [ Connection => $_ ] ])
        for 'upgrade', 'UPGRADE', 'keep-alive, Upgrade', 'Upgrade,close',
            "keep-alive\t,\tUpgrade";

    accepted('several Connection headers',
             [ [ Connection => 'keep-alive' ], [ Connection => 'Upgrade' ] ]);
    accepted('several Upgrade headers',
             [ [ Upgrade => 'h2c' ], [ Upgrade => 'websocket' ] ]);
    accepted('names of headers in any case', [
        [ upgrade => 'websocket' ], [ cONNECTION => 'Upgrade' ],
        [ 'SEC-WEBSOCKET-KEY' => $key ], [ 'sec-websocket-version' => 13 ]
    ]);
    accepted('a whole URI', [], path => 'http://localhost/raw?channel=a');
    accepted('cookies and headers that nobody knows',
             [ [ Cookie => 'a=b' ], [ 'X-Any' => 'thing' ] ]);
    accepted('extensions that are not spoken', [
        [ 'Sec-WebSocket-Extensions', 'permessage-deflate; client_max_window_bits, x' ]
    ]);
};


subtest 'not an upgrade' => sub {
    for ([ Upgrade => undef ], [ Upgrade => 'h2c' ], [ Upgrade => 'websocketx' ],
         [ Upgrade => 'web socket' ],
         [ Connection => 'keep-alive' ], [ Connection => 'close' ],
         [ Connection => 'Upgraded' ])
    {
        my $ws = refused(join(': ', map { $_ // 'none' } @$_), 426,
                         qr/upgrade over HTTP\/1\.1/, [ $_ ]);

        is(lc($ws->headers->{upgrade} || ''), 'websocket',
           'names the protocol to upgrade to');
        like($ws->headers->{connection} || '', qr/\bupgrade\b/i,
             'in the way of RFC 9110, section 7.8');
    }

    my $r = $nginx->http->get('/native');
    is("$r->{status} $r->{reason}", '426 Upgrade Required', 'a plain GET');
    like($r->{headers}{'content-type'}, qr{^text/plain}, 'as text');

    is($nginx->http->get('/plain')->{body}, 'plain',
       'the connection is one for others');

    refused('HTTP/1.0', 426, qr/HTTP\/1\.1/, [], version => '1.0');
};


subtest 'versions' => sub {
    for (undef, '12', '14', '0', '013', '13x', '', '255', '8, 13') {
        my $ws = refused('version ' . ($_ // 'missing'), 426, qr/version 13/,
                         [ [ 'Sec-WebSocket-Version' => $_ ] ]);

        is($ws->headers->{'sec-websocket-version'}, '13',
           'tells the one that is spoken');
    }
};


subtest 'keys' => sub {
    my %bad = (
        'none'        => undef,
        'empty'       => '',
        'not base64'  => 'dGhlIHNhbXBsZSBub25j!Q==',
        'too short'   => 'dGhlIHNhbXBsZSBub25=',
        '15 bytes'    => 'AAAAAAAAAAAAAAAAAAAA',
        '17 bytes'    => 'AAAAAAAAAAAAAAAAAAAAAAA=',
        'too long'    => $key x 20,
        'no padding'  => 'dGhlIHNhbXBsZSBub25jZQ',
        'more bits'   => 'dGhlIHNhbXBsZSBub25jZR==',
        'url base64'  => '-_-_-_-_-_-_-_-_-_-_-w==',
    );

    refused("key: $_", 400, qr/Sec-WebSocket-Key/,
            [ [ 'Sec-WebSocket-Key' => $bad{$_} ] ]) for sort keys %bad;

    refused('two keys', 400, qr/Sec-WebSocket-Key is there twice/,
            [ map { [ 'Sec-WebSocket-Key' => $_ ] } $key, $key ]);
    refused('two versions', 426, qr/Sec-WebSocket-Version is there twice/,
            [ map { [ 'Sec-WebSocket-Version' => $_ ] } 13, 13 ]);
};


subtest 'methods and bodies' => sub {
    refused($_, 405, qr/only GET/, [ [ 'Content-Length' => 0 ] ], method => $_)
        for qw( POST PUT DELETE OPTIONS PATCH );

    is($nginx->http->head('/raw?channel=a')->{status}, 405, 'HEAD');

    refused('a body', 400, qr/no body/, [ [ 'Content-Length' => 4 ] ],
            body => 'body');
    refused('a body in chunks', 400, qr/no body/,
            [ [ 'Transfer-Encoding' => 'chunked' ] ],
            body => "4\r\nbody\r\n0\r\n\r\n");
    accepted('a body of no bytes', [ [ 'Content-Length' => 0 ] ]);

    my $s = Fanout::Socket->open(port => $nginx->port);
    $s->send_bytes(handshake([ [ 'Content-Length' => 5 ] ], body => 'body!')
                   . "GET /plain HTTP/1.1\r\nHost: l\r\n\r\n");
    wait_for(sub { $s->fill(0.1); ${ $s->buffer } =~ /plain\z/ });
    like(${ $s->buffer }, qr/^HTTP\/1\.1 400 .*HTTP\/1\.1 200 .*plain\z/s,
         'the request behind a refused body is read as one');

    my $t = Fanout::Socket->open(port => $nginx->port);
    $t->send_bytes("GET /raw?channel=a HTTP/1.1\r\nUpgrade: websocket\r\n"
                   . "Connection: Upgrade\r\nSec-WebSocket-Key: $key\r\n"
                   . "Sec-WebSocket-Version: 13\r\n\r\n");
    $t->fill;
    like(${ $t->buffer }, qr/^HTTP\/1\.1 400 /, 'no Host: NGINX refuses it');
};


subtest 'subprotocols' => sub {
    my $sub = sub {
        my $ws = try([ map { [ 'Sec-WebSocket-Protocol' => $_ ] } @_ ],
                     path => '/native');
        my $got = $ws->status == 101 ? $ws->subprotocol : $ws->status;
        $ws->cut;
        return $got;
    };

    is($sub->('fanout.v1'), 'fanout.v1', 'ours is echoed');
    is($sub->('other, fanout.v1'), 'fanout.v1', 'out of a list');
    is($sub->('other', 'fanout.v1'), 'fanout.v1', 'out of several headers');
    is($sub->('other'), undef, 'others are not');
    is($sub->(), undef, 'none is fine');
    is($sub->('fanout.v1, fanout.token.SECRET, fanout.resume.r_abc'),
       'fanout.v1', 'secrets are never echoed');
    is($sub->('fanout.token.SECRET'), undef, 'not even alone');

    my $ws = $nginx->ws(path => '/native',
                        subprotocols => [ 'fanout.token.SECRET' ]);
    unlike($ws->{head}, qr/SECRET/, 'nowhere in the answer');
};


subtest 'origins' => sub {
    my $port = $nginx->port;

    my $from = sub {
        my ($path, $origin, $host) = @_;

        my $ws = try([ [ Origin => $origin ],
                       [ Host => $host || "127.0.0.1:$port" ] ],
                     path => $path);
        my $status = $ws->status;

        if ($status != 101) {
            like($ws->body, qr/origin .*fanout_origin/,
                 'the answer names the directive');
        }

        $ws->cut;
        return $status;
    };

    is($from->('/native', undef), 101, 'no Origin: a program');
    is($from->('/native', "http://127.0.0.1:$port"), 101, 'the same origin');
    is($from->('/native', "https://127.0.0.1:$port"), 101,
       'TLS may end in front of us');
    is($from->('/native', 'http://A.test', 'a.TEST'), 101, 'in any case');
    is($from->('/native', "http://localhost:$port"), 403, 'another host');
    is($from->('/native', 'http://127.0.0.1'), 403, 'another port');
    is($from->('/native', 'null'), 403, 'null');
    is($from->('/native', ''), 403, 'empty');
    is($from->('/native', "http://127.0.0.1:$port.evil.test"), 403,
       'a longer one');
    is($from->('/native', 'http://a.tes', 'a.test'), 403, 'a shorter one');
    is($from->('/native', 'http://'), 403, 'a scheme alone');
    is($from->('/native', 'a.test', 'a.test'), 403, 'no scheme');

    is($from->('/any', $_), 101, "* takes $_") for 'https://x.test', 'null';

    is($from->('/list', $_), 101, "the list takes $_")
        for 'https://one.test', 'https://two.test:8443', 'http://three.test',
            'HTTPS://One.test';
    is($from->('/list', $_), 403, "but not $_")
        for 'http://one.test', 'https://two.test', 'https://one.test.evil',
            "http://127.0.0.1:$port", 'null', '*';

    is($from->('/both', $_), 101, "same and a list take $_")
        for 'https://one.test', "http://127.0.0.1:$port";
    is($from->('/both', 'https://two.test'), 403, 'and nobody else');

    my $ws = try([ [ Origin => 'http://ok' ], [ Origin => 'https://evil' ],
                   [ Host => 'ok' ] ], path => '/native');
    is($ws->status, 403, 'two Origins: none can be trusted');
};


subtest 'users' => sub {
    accepted('a name', [ [ 'X-User' => 'ann' ] ], path => '/user');
    accepted('none', [], path => '/user');
    refused('too long', 400, qr/user is not a name/,
            [ [ 'X-User' => 'u' x 256 ] ], path => '/user');
    refused('not UTF-8', 400, qr/user is not a name/,
            [ [ 'X-User' => "a\xff" ] ], path => '/user');
    refused('control characters', 400, qr/user is not a name/,
            [ [ 'X-User' => "a\xc2\x85" ] ], path => '/user');
};


subtest 'frames right behind the request' => sub {
    for my $worker ($one, $two) {
        my $ws = $nginx->ws(
            path => '/raw?channel=behind', worker => $worker,
            after => join '', map { Fanout::WS->frame(1, "m$_") } 1 .. 3
        );

        is_deeply([ map { $ws->recv_text } 1 .. 3 ], [qw( m1 m2 m3 )],
                  'in the same packet');
    }

    my $frame = Fanout::WS->frame(1, 'cut');
    my $ws = $nginx->ws(path => '/raw?channel=behind',
                        after => substr($frame, 0, 3));
    $ws->send_bytes(substr $frame, 3);
    is($ws->recv_text, 'cut', 'a frame that begins there');

    my $big = 'b' x 30_000;
    $ws = $nginx->ws(path => '/raw?channel=behind',
                     after => Fanout::WS->frame(1, $big));
    ok($ws->recv_text eq $big, 'more than a header buffer holds');

    # requests before it, on the same connection

    $ws = $nginx->ws(
        request => "GET /plain HTTP/1.1\r\nHost: l\r\n\r\n", expect => 200
    );
    is(${ $ws->buffer }, 'plain', 'a request');
    ${ $ws->buffer } = '';
    $ws->send_bytes(handshake([], path => '/raw?channel=behind')
                    . Fanout::WS->frame(1, 'then'));
    wait_for(sub { $ws->fill(0.1); ${ $ws->buffer } =~ /then\z/ });
    like(${ $ws->buffer }, qr/^HTTP\/1\.1 101 .*\r\n\r\n\x81\x04then\z/s,
         'then an upgrade of the connection');

    my $s = Fanout::Socket->open(port => $nginx->port);
    $s->send_bytes("GET /plain HTTP/1.1\r\nHost: l\r\n\r\n"
                   . handshake([], path => '/raw?channel=behind')
                   . Fanout::WS->frame(1, 'pipelined'));
    wait_for(sub { $s->fill(0.1); ${ $s->buffer } =~ /pipelined\z/ });
    like(${ $s->buffer },
         qr/^HTTP\/1\.1 200 .*plainHTTP\/1\.1 101 .*\x81\x09pipelined\z/s,
         'pipelined');
};


subtest 'a byte at a time' => sub {
    for my $worker ($one, $two) {
        my $s = $nginx->on_worker($worker, sub {
            Fanout::Socket->open(port => $nginx->port)
        });
        my $bytes = handshake([], path => '/raw?channel=bytes')
                  . Fanout::WS->frame(1, "first \xe2\x82\xac")
                  . Fanout::WS->frame(9, 'p')
                  . Fanout::WS->frame(1, 'se', fin => 0)
                  . Fanout::WS->frame(0, 'cond');

        $s->{sock}->setsockopt(6, 1, 1);         # TCP_NODELAY
        $s->send_bytes($_) && select(undef, undef, undef, 0.0005)
            for split //, $bytes;

        wait_for(sub { $s->fill(0.1); ${ $s->buffer } =~ /second/ });
        like(${ $s->buffer },
             qr/^HTTP\/1\.1\ 101\ .*\r\n\r\n\x81\x09first\ \xe2\x82\xac
                \x8a\x01p\x81\x06second\z/sx, 'handshake and frames');
        $s->cut;
    }
};


is($nginx->ws(worker => $_, path => '/native')->status, 101, "$_ still serves")
    for $one, $two;

done_testing();
