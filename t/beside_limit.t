#!/usr/bin/env perl

# "limit_req", "limit_conn" and connections that run out: if this fails,
# handshakes pass a limit that was set against floods, or a worker that is
# full takes down those who are connected to it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_channel app * history=10;
        limit_req_zone $binary_remote_addr zone=slow:1m rate=1r/m;
        limit_req_zone $arg_z zone=late:1m rate=20r/s;
        limit_conn_zone $server_name zone=conn:1m;
        limit_req_status 429;
END
    server => <<'END',
        location = /limited {
            limit_req zone=slow burst=2 nodelay;
            fanout app;
            fanout_permit all *;
        }

        location = /late {
            limit_req zone=late burst=20;
            fanout app;
            fanout_permit all *;
        }

        location = /conn {
            limit_conn conn 2;
            fanout app;
            fanout_permit all *;
        }

        location = /sessions {
            fanout app;
            fanout_permit all *;
            fanout_sessions 3;
        }

        location /limited/ {
            limit_req zone=slow burst=2 nodelay;
            fanout_api app;
        }
END
);


sub try_ws { $nginx->ws(path => $_[0], expect => undef, @_[1 .. $#_]) }


subtest 'fanout_sessions' => sub {
    my ($pid) = $nginx->worker_pids;
    my @in;

    ok(wait_for(sub {
        my $ws = try_ws('/sessions', worker => $pid);
        push @in, $ws if $ws->status == 101;
        return @in == 3;
    }), 'as many as it says') or return;

    my $last = try_ws('/sessions', worker => $pid);

    is($last->status, 503, 'no more');
    like($last->body, qr/fanout_sessions/, 'and it is said which directive');
    ok($nginx->log_like(qr/limit of 3 sessions is reached/), 'is logged');

    (pop @in)->close;

    ok(wait_for(sub {
        try_ws('/sessions', worker => $pid)->status == 101
    }), 'who leaves makes room');
};


subtest 'limit_req' => sub {
    my @got = map { try_ws('/limited') } 1 .. 5;

    is_deeply([ map { $_->status } @got ], [ 101, 101, 101, 429, 429 ],
              'the first three, then none');
    ok($nginx->log_like(qr/limiting requests, .*"GET \/limited/),
       'which is logged');

    my $ws = $got[2];
    $ws->send_ping('alive');

    my $frame;
    wait_for(sub {
        $frame = $ws->recv_frame(1);
        return $frame && $frame->{opcode} == 10;
    });

    is($frame && $frame->{payload}, 'alive', 'who is in stays');
    $_->disconnect for @got;
    is(try_ws('/limited')->status, 429, 'the limit is on requests');
    is($nginx->http->post('/limited/channels/a/messages', '1')->{status}, 429,
       'those to the API as well');
};


subtest 'limit_req with a delay' => sub {
    my @got = map { $nginx->native(path => '/late?z=1') } 1 .. 6;

    is(scalar(grep { $_->welcome } @got), 6, 'all get in');
    ok($nginx->log_like(qr/delaying request.*"GET \/late/), 'some later');

    $got[5]->ok('join', channel => 'a');
    $got[0]->ok('publish', channel => 'a', data => 'x');
    is($got[5]->next_push->{data}, 'x', 'the session works');
};


subtest 'limit_conn ends at the handshake' => sub {
    my @got = map { $nginx->native(path => '/conn') } 1 .. 5;

    is(scalar(grep { $_->welcome } @got), 5,
       'sessions are not counted by it');
};


# worker_connections: listening, eventfd and channel sockets take some of them

subtest 'worker_connections are exhausted' => sub {
    my $small = Fanout::Nginx->start(
        workers => 1,
        events  => 'worker_connections 24;',
        http    => <<'END',
            fanout_zone app 8m;
            fanout_channel app * history=10;
END
        server  => <<'END',
            location /realtime { fanout app; fanout_permit all *; }
            location /fanout/  { fanout_api app; }
END
        allow   => [ qr/24 worker_connections are not enough/ ],
    );

    my @in;

    for (1 .. 30) {
        my $ws = eval { $small->native(path => '/realtime', timeout => 2) };

        last if !$ws;
        push @in, $ws;
    }

    cmp_ok(scalar @in, '>', 10, 'some are in');
    cmp_ok(scalar @in, '<', 24, 'not all');
    ok($small->wait_log(qr/24 worker_connections are not enough/),
       'the log says why');

    $in[0]->ok('join', channel => 'a');
    $in[1]->ok('publish', channel => 'a', data => 'still');
    is($in[0]->next_push->{data}, 'still', 'those who are in go on');

    (pop @in)->close for 1 .. 4;

    ok(wait_for(sub {
        my $ws = eval { $small->native(path => '/realtime', timeout => 2) };
        return $ws && $ws->welcome;
    }), 'who leaves makes room');
};


done_testing();
