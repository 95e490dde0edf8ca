#!/usr/bin/env perl

# The end of a connection (RFC 6455, section 7). If this fails, browsers show
# 1006 where there was a reason, connections stay half open until a worker has
# none left, or what a client said before it went is lost.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;
use Fanout::Socket;


my $nginx = Fanout::Nginx->start(
    tls  => 1,
    http => <<'END',
        fanout_zone app 16m;
        fanout_channel app * history=100;
END
    server => <<'END',
        location /raw {
            fanout app;
            fanout_dialect raw;
            fanout_permit all *;
        }
        location /native  { fanout app; fanout_permit all *; }
        location = /status { fanout_status app; }
        # those who ask stay at their worker
        keepalive_requests 1000000;
        location = /sync   { return 204; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $channel = 0;

sub frame { Fanout::WS->frame(@_) }

sub raw { $nginx->ws(path => '/raw?channel=c' . ++$channel, @_) }


# what comes until the server ends the connection: code, reason, and nothing
# behind it

sub ending {
    my ($ws) = @_;

    my $code = $ws->wait_close;

    if (!wait_for(sub { $ws->fill(0.05); $ws->eof })) {
        return "$code, but the connection stays";
    }

    my $rest = ${ $ws->buffer };
    $ws->disconnect;

    return length $rest ? "$code and " . unpack('H*', $rest) : $code;
}


for my $tls (0, 1) {
    my $how = $tls ? 'TLS: ' : '';

    subtest "${how}codes" => sub {
        for my $code (1000 .. 1003, 1007 .. 1014, 3000, 3999, 4000, 4999) {
            my $ws = raw(tls => $tls);
            $ws->send_close($code, 'why');
            is(ending($ws), $code, "$code is answered with it");
        }

        for my $code (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000,
                      2999, 5000, 65535)
        {
            my $ws = raw(tls => $tls);
            $ws->send_close($code);
            is(ending($ws), 1002, "$code must not be sent: 1002");
        }
    };

    subtest "${how}payloads" => sub {
        my $ws = raw(tls => $tls);
        $ws->send_close();
        is(ending($ws), 1005, 'none: none in the answer');

        $ws = raw(tls => $tls);
        $ws->send_frame(8, "\x03");
        is(ending($ws), 1002, 'one byte');

        for my $reason ('', 'r' x 123, "\xe2\x82\xac") {
            $ws = raw(tls => $tls);
            $ws->send_close(1000, $reason);
            is(ending($ws), 1000, 'a reason of ' . length($reason) . ' bytes');
        }

        for my $reason ("\xff", "cut\xe2\x82", "\xed\xa0\x80", "\xc0\x80") {
            $ws = raw(tls => $tls);
            $ws->send_close(1000, $reason);
            is(ending($ws), 1007, unpack('H*', $reason) . ' is no reason');
        }
    };
}


subtest 'errors are explained' => sub {
    my $ws = raw();

    $ws->send_frame(1, 'x', mask => 0);
    is($ws->wait_close, 1002, 'the code');
    like($ws->close_reason, qr/not masked/, 'the reason');
};


subtest 'what was said before, what comes after' => sub {
    for my $worker ($one, $two) {
        my $name  = 'order' . $worker;
        my $other = $nginx->ws(path => "/raw?channel=$name",
                               worker => $worker == $one ? $two : $one);
        my $ws = $nginx->ws(path => "/raw?channel=$name", worker => $worker);

        $ws->send_bytes(frame(1, 'before') . frame(8, pack 'n', 1000)
                        . frame(1, 'after') . frame(9, 'ping')
                        . frame(8, pack 'n', 4000) . "\xff" x 100);

        is($ws->recv_text, 'before', 'its own echo first');
        is(ending($ws), 1000, 'then the answer, once, and no pong');
        is($other->recv_text, 'before', 'others got it');

        $nginx->ws(path => "/raw?channel=$name")->send_text('next');
        is($other->recv_text, 'next', 'but nothing that came after');
    }

    my $ws = raw();
    $ws->send_bytes(frame(1, 'half a mess', fin => 0) . frame(8, pack 'n', 1001));
    is(ending($ws), 1001, 'within a message');

    $ws = $nginx->native(path => '/native');
    $ws->ok('join', channel => 'n');
    $ws->send_bytes(frame(1, '{"id":9,"op":"publish","channel":"n","data":1}')
                    . frame(8, pack 'n', 1000));
    ok($ws->reply(9)->{ok}, 'native: the reply');
    is($ws->next_push->{data}, 1, 'the echo');
    is(ending($ws), 1000, 'the close');
};


# the server's own close: here because of binary where text is needed

sub closed_by_server {
    my $ws = $nginx->native(path => '/native', no_pong => 1, @_);

    $ws->send_binary('x');
    is($ws->wait_close, 1003, 'the server closes');

    return $ws;
}


subtest 'closed by the server' => sub {
    my $sub = $nginx->ws(path => '/raw?channel=late');

    my $ws = closed_by_server();
    like($ws->close_reason, qr/text/, 'with a reason');
    $ws->send_close(1003);
    ok(wait_for(sub { $ws->fill(0.05); $ws->eof }),
       'ends when it is answered');
    is(${ $ws->buffer }, '', 'without another word');

    $ws = closed_by_server();
    $ws->send_bytes(frame(1, '{"op":"publish","channel":"late","data":1}')
                    . frame(9, 'x'));
    $ws->send_close(1000);
    ok(wait_for(sub { $ws->fill(0.05); $ws->eof }), 'data first');
    is(${ $ws->buffer }, '', 'no pong, no reply');

    $nginx->ws(path => '/raw?channel=late')->send_text('sign');
    is($sub->recv_text, 'sign', 'what came late was not published');

    $ws = closed_by_server();
    $ws->send_bytes("\xff\xff rubbish");
    ok(wait_for(sub { $ws->fill(0.05); $ws->eof }), 'rubbish for an answer');

    $ws = closed_by_server();
    $ws->disconnect;

    $ws = closed_by_server();
    ok(wait_for(sub { $ws->fill(0.05); $ws->eof }),
       'no answer: ended all the same');
};


# each worker tells of its own

my @status = map { $nginx->http(worker => $_) } $one, $two;

sub sessions {
    my $n = 0;

    $n += $_->get('/status?format=json')->json->{worker}{sessions} for @status;
    return $n;
}


subtest 'without a close' => sub {
    ok(wait_for(sub { !sessions() }), 'those before are gone');

    my @many = map {
        $nginx->native(path => '/native', tls => $_ % 2,
                       worker => $_ % 4 < 2 ? $one : $two)
    } 1 .. 20;

    $_->ok('join', channel => 'many') for @many;
    is(sessions(), 20, 'there they are');

    $many[$_]->cut for 0 .. 6;
    $many[$_]->disconnect for 7 .. 12;
    $many[$_]->send_bytes(substr frame(1, 'cut in the middle'), 0, 9)
        && $many[$_]->cut for 13 .. 16;

    for (17 .. 19) {
        $many[$_]->shut_write;
        ok(wait_for(sub { $many[$_]->fill(0.05); $many[$_]->eof }),
           'a half close ends it');
    }

    ok(wait_for(sub { !sessions() }), 'nothing of them stays')
        or diag(sessions(), ' sessions');
};

is_deeply([ $nginx->worker_pids ], [ $one, $two ], 'the workers live');

done_testing();
