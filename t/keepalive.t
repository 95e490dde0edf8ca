#!/usr/bin/env perl

# Connections that are kept: if this fails, a client that reuses one (as
# every browser and proxy does) gets the answer to another request, or loses
# the first messages it sent behind its handshake.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    tls  => 1,
    http => <<'END',
        fanout_zone app 8m;
        fanout_channel app * history=100;
        log_format short '$connection_requests $status $request_uri';
END
    server => <<'END',
        access_log %%DIR%%/access.log short;

        location /raw {
            fanout app; fanout_dialect raw; fanout_permit all *;
        }
        location /fanout/ { fanout_api app; }
        location = /status { fanout_status app; }
        location = /pid   { return 200 "$pid"; }
        location = /big   { root %%DIR%%; try_files /big.bin =404; }
        location = /slow  { root %%DIR%%; try_files /slow.bin =404;
                            limit_rate 200k; }
END
);

my $big = join '', map { sprintf "%08d", $_ } 1 .. 50_000;

for my $name ('big', 'slow') {
    open my $f, '>', $nginx->dir . "/$name.bin" or die $!;
    print $f $name eq 'big' ? $big : substr $big, 0, 100_000;
    close $f;
}


subtest 'many requests on one connection' => sub {
    my $http = $nginx->http;

    for my $i (1 .. 50) {
        my $r = $http->post('/fanout/channels/a/messages', $i);

        is($r->json->{offset}, $i, "publish $i") if $i % 10 == 0;

        $http->get('/status');
        $http->get('/fanout/channels/a');
        $http->get('/raw');
        $http->get('/pid');
    }

    is($http->reused, 249, 'is still the same');
};


# the upgrade as the last of several requests, sent one by one or at once

for my $tls (0, 1) {
    my $kind = $tls ? 'TLS' : 'plain';

    subtest "an upgrade later on a connection, $kind" => sub {
        my $c = Fanout::Socket->open(port => port($tls), tls => $tls);
        my $http = bless { conn => $c, reused => 0, o => {} }, 'Fanout::HTTP';

        is($http->get('/pid')->{status}, 200, 'a request') for 1 .. 3;
        is($http->post('/fanout/channels/b/messages', '"x"')->{status}, 201,
           'a publish');
        is($http->get('/raw')->{status}, 426, 'one that is refused');

        my $r = $http->raw(handshake('/raw?channel=b'));

        is($r->{status}, 101, 'then the handshake');

        my $ws = bless $c, 'Fanout::WS';

        $ws->send_text('after');
        is($ws->recv_text, 'after', 'the session works');
        is($ws->close, 1000, 'and ends');
    };

    subtest "pipelined, $kind" => sub {
        my @before = map { request("/fanout/channels/p$tls/messages",
                                   "\"m$_\"") } 1 .. 5;

        for my $more (0, 1, 30) {
            my $frames = bless {}, 'Fanout::WS';
            my $c = Fanout::Socket->open(port => port($tls), tls => $tls);

            $c->send_bytes(join '', @before,
                           "GET /pid HTTP/1.1\r\nHost: a\r\n\r\n",
                           handshake("/raw?channel=p$tls$more"),
                           map { $frames->frame(1, "first $_") } 1 .. $more);

            my $http = bless { conn => $c }, 'Fanout::HTTP';

            is(join(' ', map { $http->read_response->{status} } 1 .. 7),
               '201 201 201 201 201 200 101', "every answer, $more frames");

            my $ws = bless $c, 'Fanout::WS';

            is_deeply([ map { $ws->recv_text } 1 .. $more ],
                      [ map { "first $_" } 1 .. $more ],
                      'the frames that came with it');

            $ws->send_text('last');
            is($ws->recv_text, 'last', 'and later ones');
            $ws->disconnect;
        }
    };

    subtest "pipelined behind a large answer, $kind" => sub {
        for my $path (qw( /big /slow )) {
            my $frames = bless {}, 'Fanout::WS';
            my $c = Fanout::Socket->open(port => port($tls), tls => $tls,
                                         rcvbuf => 8192);

            $c->send_bytes("GET $path HTTP/1.1\r\nHost: a\r\n\r\n"
                           . handshake('/raw?channel=large')
                           . $frames->frame(1, "with $path"));

            my $http = bless { conn => $c }, 'Fanout::HTTP';
            my $r    = $http->read_response;

            ok($r->{body} eq ($path eq '/big' ? $big
                                              : substr $big, 0, 100_000),
               "$path as it is");
            is($http->read_response->{status}, 101, 'then the handshake');

            my $ws = bless $c, 'Fanout::WS';

            is($ws->recv_text, "with $path", 'then the message');
            $ws->disconnect;
        }
    };

    subtest "behind the handshake, in the same packet, $kind" => sub {
        my $frames = bless {}, 'Fanout::WS';

        # more than the buffer that reads requests holds

        for my $size (1, 900, 1100, 5000, 40_000) {
            my $ws = Fanout::WS->connect(
                port  => port($tls), tls => $tls,
                path  => "/raw?channel=behind$size$tls",
                after => $frames->frame(1, 'a' x $size)
                       . $frames->frame(2, 'b' x $size)
            );

            my ($a, $b) = map { $ws->recv_message } 1, 2;

            ok($a->{payload} eq 'a' x $size, "$size bytes of text");
            ok($b->{payload} eq 'b' x $size, 'and binary');
            $ws->disconnect;
        }

        my $frame = $frames->frame(1, 'split at every byte');

        for my $cut (0 .. length $frame) {
            my $ws = Fanout::WS->connect(
                port  => port($tls), tls => $tls,
                path  => "/raw?channel=cut$tls$cut",
                after => substr $frame, 0, $cut
            );

            $ws->send_bytes(substr $frame, $cut);

            my $text = $ws->recv_text // 'nothing';
            $text eq 'split at every byte' or fail("cut at $cut: $text"), last;
            $ws->disconnect;
        }

        pass('and cut at every byte');
    };
}


# headers that are too large for the first buffer: it goes to hc->busy

subtest 'large headers' => sub {
    my $frames = bless {}, 'Fanout::WS';

    for my $size (900, 1100, 4000, 7000) {
        my $ws = Fanout::WS->connect(
            port    => $nginx->port, path => '/raw?channel=headers',
            headers => [ map { [ "X-Large-$_", 'h' x $size ] } 1 .. 3 ],
            after   => $frames->frame(1, "h$size")
        );

        is($ws->recv_text, "h$size", "3 headers of $size bytes");
        $ws->disconnect;
    }
};


subtest 'HTTP/1.0 and Connection: close' => sub {
    my $http = $nginx->http;

    is($http->get('/fanout/channels', close => 1)->{headers}{connection},
       'close', 'a client that wants to close');
    is($nginx->ws(path => '/raw?channel=a', version => '1.0',
                  expect => undef)->status, 426, 'no upgrade in 1.0');
    is($nginx->ws(path => '/raw?channel=a', expect => undef,
                  headers => { Connection => 'keep-alive, Upgrade' })->status,
       101, 'more words in Connection');
};


sub port { $nginx->port($_[0] ? 'TLSPORT' : 'PORT') }


sub handshake {
    my ($path) = @_;

    return Fanout::WS::request('AAAAAAAAAAAAAAAAAAAAAA==', path => $path);
}


sub request {
    my ($path, $body) = @_;

    return "POST $path HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
           . length($body) . "\r\n\r\n$body";
}


done_testing();
