#!/usr/bin/env perl

# The bytes of an event stream, as what stands between and what reads them takes
# them: if this fails, a proxy holds a stream back or compresses it, a parser
# makes events without data of comments, or a chunk that a socket did not take
# at once comes apart.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Elapsed qw( time );
use Fanout::H2;
use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Socket;
use Fanout::Stream;


my $version = `@{[ Fanout::Nginx::binary() ]} -V 2>&1`;
my ($minor) = $version =~ m{nginx/1\.(\d+)};
my ($listen, $on) = $minor >= 25 ? ('', 'http2 on;') : ('http2', '');
my $h2 = $version =~ /http_v2_module/;

my $locations = <<'END';
        fanout_permit all *;
        fanout_drain 300ms;
        fanout_budget off;
        fanout_rate off;
        location /rt { fanout app; fanout_buffer 4m; }
        location /beat { fanout app; fanout_ping 100ms; }
        location /plain { fanout app; chunked_transfer_encoding off; }
        location /few { fanout app; fanout_sessions_per_address 1; }
        location /user { fanout app; fanout_user $arg_user;
                         fanout_sessions_per_user 1; }
        location /fanout { fanout_api app; }
        location = /status { fanout_status app; }
END

my $nginx = Fanout::Nginx->start(
    tls     => 1,
    workers => 1,
    http    => 'fanout_zone app 32m;
                fanout_channel app * history=1000;
                client_body_buffer_size 256k;',
    server  => $locations,
    $h2 ? (servers => "server { listen 127.0.0.1:%%PORT1%% $listen; $on
                                $locations }") : (),
);


sub publish {
    my ($channel, $data) = @_;

    my $r = $nginx->http->post("/fanout/channels/$channel/messages", $data);
    die "publish: $r->{status} $r->{body}\n" if $r->{status} !~ /^2/;
}


# a request as it is, and what comes of it

sub ask {
    my ($path, %o) = @_;

    my $s = Fanout::Socket->open(port => $nginx->port, rcvbuf => $o{rcvbuf});

    $s->send_bytes("GET $path HTTP/" . ($o{version} // '1.1') . "\r\n"
                   . "Host: localhost\r\nAccept: text/event-stream\r\n\r\n");

    return $s;
}


sub read_until {
    my ($s, $what) = @_;

    my $end = time + 20 * $Fanout::Socket::SCALE;

    until (${ $s->buffer } =~ $what || $s->eof || time > $end) {
        $s->fill(1);
    }

    return ${ $s->buffer } =~ $what;
}


# what is in the chunks, and whether the last one is there; dies of any other
# byte between them

sub dechunk {
    my ($bytes) = @_;

    my $body = '';

    while ($bytes =~ s/^([1-9a-f][0-9a-f]*)\r\n//) {
        my $n = hex $1;

        last if length $bytes < $n + 2;

        $body .= substr $bytes, 0, $n, '';
        $bytes =~ s/^\r\n// or die "a chunk of $n has another end\n";
    }

    my $last = $bytes eq "0\r\n\r\n";

    die "no chunk: " . substr($bytes, 0, 20) . "\n" if length $bytes && !$last;

    return ($body, $last);
}


# blocks that a parser would make an event of

sub without_data {
    my ($body) = @_;

    my @blocks = split /\n\n/, $body, -1;

    pop @blocks;        # not ended: is none

    return grep { !/^data: ./m } @blocks;
}


sub head_and_body {
    my ($bytes) = @_;

    my ($head, $body) = split /\r\n\r\n/, $bytes, 2;

    return ($head, $body);
}


subtest 'HTTP/1.1: chunks' => sub {
    my $s = ask('/beat?channel=a&channel=b');

    ok(read_until($s, qr/"channel":"b".*\r\n/s), 'the first bytes at once');

    publish('a', $_) for 1 .. 3;
    ok(read_until($s, qr/"data":3/), 'entries');
    ok(read_until($s, qr/\n:\n.*\n:\n/s), 'heartbeats');
    publish('b', '"late"');
    ok(read_until($s, qr/"late"/), 'and what comes behind them');

    $nginx->reload;
    ok(read_until($s, qr/"drain"/), 'the end is announced');
    ok(read_until($s, qr/\r\n0\r\n\r\n\z/), 'and comes with the last chunk');

    my ($head, $body) = head_and_body(${ $s->buffer });
    my ($events, $last) = dechunk($body);

    like($head, qr{^HTTP/1\.1 200 OK\r\n}, 'a response');
    like($head, qr/^Transfer-Encoding: chunked\r?$/m, 'in chunks');
    like($head, qr/^Cache-Control: no-cache, no-transform\r?$/m,
         'that no proxy compresses');
    like($head, qr/^X-Accel-Buffering: no\r?$/m, 'nor holds back');
    unlike($head, qr/^Content-Length/m, 'of no length');
    ok($last, 'whole');

    is_deeply([ without_data($events) ], [], 'no block without data');
    like($events, qr/^retry: \d+\ndata: \{"welcome"/, 'retry in front of one');
    like($events, qr/\nid: \S+\ndata: \{"ok":\{"channel":"b"/,
         'the position with the last reply');
    like($events, qr/\n:\n/, 'comments in between');
    like($events, qr/\nretry: \d+\ndata: \{"closing"/,
         'when to come back in front of the end');
};


subtest 'HTTP/1.0, or no chunks: until the end of the connection' => sub {
    for (['/rt?channel=a', version => '1.0'], ['/plain?channel=a']) {
        my $s = ask(@$_);

        ok(read_until($s, qr/"ok"/), "@$_");
        publish('a', '"x"');
        ok(read_until($s, qr/"x"/), 'an entry');

        $nginx->reload(wait_old => 1);
        read_until($s, qr/(?!)/);
        ok($s->eof, 'ends');

        my ($head, $body) = head_and_body(${ $s->buffer });

        unlike($head, qr/^Transfer-Encoding/m, 'is not in chunks');
        like($head, qr/^Connection: close\r?$/m, 'but closed');
        unlike($body, qr/\r/, 'and only events are there');
        is_deeply([ without_data($body) ], [], 'no block without data');
    }
};


# A socket that takes little: chunks go in pieces, of which each may end
# anywhere.

for my $tls (0, 1) {
    subtest 'a slow reader' . ($tls ? ' over TLS' : '') => sub {
        my $s = Fanout::Stream->new($nginx, '/rt', channels => [ 'slow' ],
                                    rcvbuf => 4096, tls => $tls);
        my @said;

        for my $i (1 .. 60) {
            my $n = $i % 3 ? 40_000 + $i : $i;

            push @said, $i . 'x' x $n;
            publish('slow', qq("$said[-1]"));
        }

        my @got;

        while (@got < @said) {
            my $m = $s->next_push(20) or last;
            push @got, $m->{data} if exists $m->{data};
        }

        is(scalar @got, scalar @said, 'is told all');
        is_deeply([ map { length } @got ], [ map { length } @said ],
                  'each as long as it was');
        ok(join('', @got) eq join('', @said), 'and as it was');
    };
}


subtest 'what comes on it is the end' => sub {
    my $s = ask('/rt?channel=a');

    ok(read_until($s, qr/"ok"/), 'begins');
    $s->send_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until($s, qr/(?!)/);

    my ($head, $body) = head_and_body(${ $s->buffer });
    my ($events, $last) = dechunk($body);

    ok($last, 'that is whole');
    is_deeply([ without_data($events) ], [], 'no block without data');
};


subtest 'a session that goes elsewhere' => sub {
    my $s = Fanout::Stream->new($nginx, '/rt', channels => [ 'a' ]);
    my $other = Fanout::Stream->new($nginx, '/rt', channels => [ 'a' ],
                      headers => { 'Fanout-Resume' => $s->welcome->{resume} });

    is($s->next_push->{closing}{status}, 4409, 'is told so');
    ok(!$s->next_event(10), 'and ends');
    ok($s->whole, 'by a last chunk');
};


subtest 'refusals of an EventSource' => sub {
    my $held = Fanout::Stream->new($nginx, '/user', channels => [ 'a' ],
                                   query => 'user=ann');

    for my $path ('/user?channel=a&user=ann', '/few?channel=a') {
        my $r = $nginx->http->get($path,
                              headers => { Accept => 'text/event-stream' });

        is($r->{status}, 200, $path);
        like($r->{body}, qr/"code":"(?:too_many|rate_limited)"/, 'says why');
        is($r->{headers}{'cache-control'}, 'no-cache, no-transform',
           'is a stream for proxies as well');
        is($r->{headers}{'x-accel-buffering'}, 'no', 'in all');
        is_deeply([ without_data($r->{body}) ], [], 'no block without data');
    }
};


SKIP: {
    skip 'NGINX without HTTP/2', 1 if !$h2;

    subtest 'HTTP/2' => sub {
        my $c = Fanout::H2->connect(port => $nginx->port('PORT1'),
                                    window => 65535);

        $c->get(1, '/beat?channel=a&channel=b');
        ok($c->read_until(sub { $c->{body}{1} =~ /"channel":"b".*\n:\n/s }),
           'begins, and beats');

        $nginx->reload;
        ok($c->read_until(sub { $c->{end}{1} }), 'ends');

        is_deeply([ without_data($c->{body}{1}) ], [],
                  'no block without data');
        unlike($c->{body}{1}, qr/\r/, 'nor a chunk');
        like($c->{body}{1}, qr/\nretry: \d+\ndata: \{"closing"/, 'all is said');
    };
}

