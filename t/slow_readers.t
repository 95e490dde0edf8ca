#!/usr/bin/env perl

# Clients that do not take what they are sent: if this fails, they pin a worker's
# memory for as long as they like, because they answer pings, or one that waits
# for the server, or reads slowly, is cut.

use strict;
use warnings;

use FindBin;
use Fanout::Elapsed qw( time );
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;
use Fanout::Stream;


my $nginx = Fanout::Nginx->start(
    workers => 1,
    tls     => 1,
    http    => <<'END',
        fanout_zone app 32m;
        fanout_channel app * history=10;
        fanout_ping 10m;
END
    servers => <<"END",
        server {
            listen 127.0.0.1:%%PORT1%% ssl http2;
            ssl_certificate %%DIR%%/cert.pem;
            ssl_certificate_key %%DIR%%/key.pem;
            http2_body_preread_size 64k;
            location /short { fanout app; fanout_permit all *;
                              fanout_send_timeout 1s; }
            location /half  { fanout app; fanout_permit all *;
                              fanout_send_timeout 500ms; }
        }
END
    server => <<"END",
        location /short  { fanout app; fanout_permit all *;
                           fanout_send_timeout 1s; }
        location /long   { fanout app; fanout_permit all *;
                           fanout_send_timeout 1h; }
        location /status { fanout_status app; }
        location /fanout/ { fanout_api app; }
END
);

my $http = $nginx->http;


sub worker {
    return $http->get('/status')->json->{workers}[0];
}


sub publish {
    my ($channel, $times) = @_;

    for (1 .. $times) {
        my $r = $http->post("/fanout/channels/$channel/messages",
                            '"' . 'x' x 60_000 . '"');
        is($r->{status}, 201) or last if $r->{status} != 201;
    }
}


for my $tls (0, 1) {
    my $name = $tls ? 'TLS' : 'plain';

    subtest "WebSocket, $name" => sub {
        my $before = worker()->{counters}{send_timeouts};
        my $stuck  = $nginx->native(path => '/short', tls => $tls,
                                    rcvbuf => 4096);
        my $patient = $nginx->native(path => '/long', tls => $tls,
                                     rcvbuf => 4096);
        my $idle = $nginx->native(path => '/short', tls => $tls);

        $_->ok('join', channel => "ws$tls") for $stuck, $patient;
        publish("ws$tls", 100);

        # it answers pings that nobody sent, and asks; but it does not read

        ok(wait_for(sub {
            $stuck->try_send($stuck->frame(10, ''));
            $patient->try_send($patient->frame(10, ''));
            worker()->{counters}{send_timeouts} > $before;
        }, 30), 'a client that pongs and does not read is cut');

        is(worker()->{counters}{send_timeouts}, $before + 1, 'alone');
        ok($nginx->wait_log(qr/does not read its output: fanout_send_timeout/),
           'and the log names the directive');
        ok($patient->next_push, 'one that may be slow is there');
        ok($idle->ok('join', channel => 'other'),
           'and one for whom there was nothing');

        $_->cut for $stuck, $patient, $idle;
    };
}


subtest 'an event stream' => sub {
    my $before = worker()->{counters}{send_timeouts};
    my $stuck  = Fanout::Stream->new($nginx, '/short', channels => [ 'sse' ],
                                     rcvbuf => 4096);

    publish('sse', 100);
    ok(wait_for(sub { worker()->{counters}{send_timeouts} > $before }, 30),
       'is cut as well');
};


# over HTTP/2; its window is 10,000 bytes

sub stream {
    my ($path) = @_;

    my $s = Fanout::Socket->open(port => $nginx->port('PORT1'), tls => 1,
                                 alpn => [ 'h2' ]);

    my $block = "\x82\x87" . "\x44" . chr(length $path) . $path
              . "\x41\x09localhost";

    $s->send_bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                   . frame(4, 0, 0, pack 'nN', 4, 10_000)
                   . frame(8, 0, 0, pack 'N', 1_000_000)
                   . frame(1, 5, 1, $block));

    return $s;
}


subtest 'an event stream over HTTP/2' => sub {
    my $before = worker()->{counters}{send_timeouts};
    my $s = stream('/short?channel=h2');

    ok(wait_for(sub { worker()->{sessions} }, 20), 'is there') or return;
    publish('h2', 5);

    my $read = sub { $s->fill(.1); return };

    ok(wait_for(sub {
        $read->();
        worker()->{counters}{send_timeouts} > $before;
    }, 30), 'is cut, though its connection reads');
};


# Each byte that the window allows is progress, but what is pending at one moment
# has to be gone in 16 times the timeout.

subtest 'a byte now and then' => sub {
    my ($before, $gap, $cut, $bytes);

    # one that did not come to open its window in time proves nothing

    for (1 .. 20) {
        $before = worker()->{counters}{send_timeouts};
        ($gap, $cut, $bytes) = (0, 0, 0);

        my $s = stream('/half?channel=bit');

        wait_for(sub { $s->fill(.1);
                       ${ $s->buffer } =~ /"ok":/ }, 20) or last;
        publish('bit', 5);

        my $start = my $last = time;

        while ($last - $start < 60 && !$cut) {
            $s->send_bytes(frame(8, 0, 1, pack 'N', 1));
            $bytes++;
            $s->fill(.02);

            $cut = worker()->{counters}{send_timeouts} > $before
                if $bytes % 25 == 0;

            my $now = time;

            $gap = $now - $last if $now - $last > $gap;
            $last = $now;
        }

        last if $gap < .3;
    }

    ok($cut, "is cut after $bytes bytes");
};


subtest 'progress, however slow' => sub {
    my ($before, $gap, $got);

    # a client that itself had to wait for the processor proves nothing

    for (1 .. 20) {
        $before = worker()->{counters}{send_timeouts};
        ($gap, $got) = (0, 0);

        my $slow = $nginx->native(path => '/short', rcvbuf => 4096);

        $slow->ok('join', channel => 'slow');
        publish('slow', 100);

        my $start = my $last = time;

        while ($last - $start < 4) {
            $got += $slow->sock->sysread(my $bytes, 4000) || 0;
            select undef, undef, undef, .03;

            my $now = time;

            $gap = $now - $last if $now - $last > $gap;
            $last = $now;
        }

        last if $gap < .3;
    }

    ok($got, "took $got bytes in four times that");
    is(worker()->{counters}{send_timeouts}, $before, 'and is not cut')
        if $gap < .3;
};


done_testing();


sub frame {
    my ($type, $flags, $stream, $payload) = @_;

    return pack('C', length($payload) >> 16)
         . pack('nCCN', length($payload) & 0xffff, $type, $flags, $stream)
         . $payload;
}
