#!/usr/bin/env perl

# TLS: if this fails, messages to browsers are cut or garbled where a record
# ends, a session hangs because bytes were left inside OpenSSL, or a slow
# reader over TLS makes a worker spin.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    tls  => 1,
    http => <<'END',
        fanout_zone app 32m;
        fanout_channel app * history=100;
        fanout_drain 100ms;
        ssl_session_cache shared:tls:1m;
        log_format short '$status $ssl_protocol $ssl_session_reused $arg_n';
END
    server => <<'END',
        access_log %%DIR%%/access.log short;

        location /realtime {
            fanout app;
            fanout_user $ssl_protocol;
            fanout_permit all *;
            fanout_message_size 256k;
            fanout_buffer 1m;
        }
        location /raw {
            fanout app;
            fanout_dialect raw;
            fanout_permit all *;
            fanout_message_size 1m;
            fanout_buffer 2m;
        }
        location /fanout/ { fanout_api app; }
END
    servers => <<'END',
        server {
            listen 127.0.0.1:%%PORT1%% ssl;
            ssl_certificate %%DIR%%/cert.pem;
            ssl_certificate_key %%DIR%%/key.pem;
            ssl_protocols TLSv1.2;
            ssl_buffer_size 4k;
            add_header X-Worker $pid always;
            location /raw {
                fanout app;
                fanout_dialect raw;
                fanout_permit all *;
                fanout_message_size 1m;
                fanout_buffer 2m;
            }
        }
END
);

my ($one, $two) = $nginx->worker_pids;


subtest 'the handshake' => sub {
    my $ann = $nginx->native(tls => 1, path => '/realtime?n=1');

    like($ann->welcome->{user}, qr/^TLSv1\.[23]$/, 'over TLS');
    ok(wait_for(sub {
        open my $f, '<', $nginx->dir . '/access.log' or return;
        return grep { /^101 TLSv1\.\d . 1$/ } <$f>;
    }), 'is logged with it');
    is($nginx->native(path => '/realtime?n=2')->status, 101,
       'the same without TLS');
    is($nginx->ws(port => $nginx->port('TLSPORT'), expect => undef,
                  path => '/raw?channel=a')->status, 400,
       'but not on the port for TLS');
};


subtest 'from plain to TLS and back, across workers' => sub {
    my @in = map {
        my $w = $_;
        map {
            $nginx->native(path => '/realtime', worker => $w, tls => $_)
        } 0, 1;
    } $one, $two;

    $_->ok('join', channel => 'mixed') for @in;

    my $n = 0;

    for my $from (@in) {
        $n++;
        $from->ok('publish', channel => 'mixed', data => $n);

        is($_->next_push->{data}, $n, "message $n") for @in;
    }

    $nginx->http(tls => 1)->post('/fanout/channels/mixed/messages', '"api"');
    is($_->next_push->{data}, 'api', 'by HTTP') for @in;
};


# around the size of a TLS record, and many times it

my @sizes = (0, 1, 125, 126, 127, 4085, 4096, 16370 .. 16390, 32760, 32768,
             65535, 65536, 100_000, 900_000);

for my $port (qw( TLSPORT PORT1 )) {
    subtest "sizes, port $port" => sub {
        my ($in, $out) = map {
            $nginx->ws(port => $nginx->port($port), tls => 1,
                       path => '/raw?channel=sizes')
        } 1, 2;

        my ($bad, $n) = (0, 0);

        for my $size (@sizes) {
            my $data = join '', map { chr 32 + ($_ * 7 + $size) % 90 }
                                1 .. ($size < 5000 ? $size : 5000);

            $data .= $data until length $data >= $size;
            $data = substr $data, 0, $size;

            $in->send_text($data);

            for my $ws ($in, $out) {
                my $m = $ws->recv_message;

                $n++ if $m && $m->{opcode} == 1;
                $bad++ if !$m || $m->{payload} ne $data;
            }
        }

        is($bad, 0, 'each arrives as it was sent');
        is($n, 2 * @sizes, 'all of them');
    };
}


subtest 'one record with many frames, one frame in many records' => sub {
    my $ws = $nginx->ws(tls => 1, path => '/raw?channel=frames');

    $ws->send_bytes(join '', map { $ws->frame(1, "f$_") } 1 .. 500);
    is_deeply([ map { $ws->recv_text } 1 .. 500 ], [ map { "f$_" } 1 .. 500 ],
              'many in one write');

    $ws->send_bytes($_) for split //, $ws->frame(1, 'bytewise');
    is($ws->recv_text, 'bytewise', 'a byte a record');

    my $after = $nginx->ws(
        tls => 1, path => '/raw?channel=after',
        after => join '', map { $ws->frame(1, 'a' . $_ x 3000) } 1 .. 9
    );

    is(length $after->recv_text, 3001, 'behind the handshake')
        for 1 .. 9;
};


subtest 'a reader that stalls' => sub {
    my $slow = $nginx->native(tls => 1, path => '/realtime', rcvbuf => 4096,
                              worker => $one);
    my $fast = $nginx->native(tls => 1, path => '/realtime', worker => $one);
    my $http = $nginx->http;

    $_->ok('join', channel => 'stall') for $slow, $fast;

    my @sent = map { sprintf('%03d', $_) . 'x' x 30_000 } 1 .. 80;

    for my $data (@sent) {
        is($http->post('/fanout/channels/stall/messages', "\"$data\"")
           ->{status}, 201) or last;
        $fast->next_push->{data} eq $data or fail('the other gets it'), last;
    }

    my $before = cpu($one);

    # the worker has nothing to do now but to wait for the slow one

    $nginx->http(worker => $one)->get('/fanout/channels') for 1 .. 20;
    cmp_ok(cpu($one) - $before, '<', 50, 'nobody spins');

    my @got;

    while (@got < @sent) {
        my $push = $slow->next_push or last;

        last if $push->{gap};
        push @got, $push->{data} if exists $push->{data};
    }

    is(scalar @got, scalar @sent, 'who reads again gets all');
    ok("@got" eq "@sent", 'as they were, in order');
};


subtest 'ends' => sub {
    my $ws = $nginx->native(tls => 1, path => '/realtime');

    is($ws->close(4000, 'bye'), 4000, 'a close');

    $ws = $nginx->native(tls => 1, path => '/realtime');
    $ws->cut;

    $ws = $nginx->ws(tls => 1, path => '/raw?channel=a');
    $ws->sock->stop_SSL(SSL_fast_shutdown => 1);
    $ws->{tls} = 0;
    $ws->disconnect;

    $ws = $nginx->ws(tls => 1, path => '/raw?channel=a');
    $ws->send_frame(3, 'reserved');
    is($ws->wait_close, 1002, 'an error');

    $ws = $nginx->native(tls => 1, path => '/realtime');
    $nginx->reload;
    ok($ws->next_where(sub { $_[0]{closing} }), 'a reload');
    is($ws->wait_close, 1012, 'closes');
    $ws->disconnect;
    ok(wait_for(sub { !$nginx->stopping_pids }), 'and the old worker goes');
};


# clock ticks

sub cpu {
    my ($pid) = @_;

    my @f = split ' ', (Fanout::Nginx::slurp("/proc/$pid/stat") =~ /\) (.*)/)[0];

    return $f[11] + $f[12];
}


done_testing();
