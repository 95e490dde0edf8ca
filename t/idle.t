#!/usr/bin/env perl

# Pings and deadlines. If this fails, dead connections are kept for good,
# living ones are cut by the server or by a proxy in between, or a client that
# begins a frame and never ends it holds its place for nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;
use Fanout::Socket;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_channel app * history=10;
        fanout_ping 300ms;
        fanout_timeout 900ms;
END
    server => <<'END',
        location /native { fanout app; fanout_permit all *; }
        location /raw {
            fanout app;
            fanout_dialect raw;
            fanout_permit all *;
        }
        location /patient {
            fanout app;
            fanout_permit all *;
            fanout_timeout 1h;
        }
        location /silent {
            fanout app;
            fanout_permit all *;
            fanout_ping 0;
        }
        location = /status { fanout_status app; }
END
);

my ($one, $two) = $nginx->worker_pids;

sub frame { Fanout::WS->frame(@_) }


# all wait at the same time: who answers on both workers, who does not, who
# only talks, who is never asked

my @answers = map { $nginx->native(path => '/native', worker => $_) }
              $one, $two;
my @mute    = map { $nginx->native(path => '/native', worker => $_,
                                   no_pong => 1) } $one, $two;
my $talks   = $nginx->native(path => '/native', no_pong => 1);
my $beats   = $nginx->native(path => '/native?heartbeat=1', no_pong => 1);
my $silent  = $nginx->native(path => '/silent');
my $patient = $nginx->native(path => '/patient', no_pong => 1);
my $raw     = $nginx->ws(path => '/raw?channel=r', no_pong => 1);

is($answers[0]->welcome->{ping}, 300, 'the welcome tells of it');
is($silent->welcome->{ping}, 0, 'and that there is none');

my (%pings, %data, $beat);


# reads what there is; a ping of the server is answered by some only

sub turn {
    my @all = (@answers, @mute, $talks, $beats, $silent, $patient, $raw);

    for my $ws (Fanout::Socket::ready(0.2, @all)) {
        $ws->fill(0);

        while (my $f = $ws->take_frame) {
            if ($f->{opcode} == 9) {
                $pings{$ws}++;
                $ws->send_pong($f->{payload}) if grep { $_ == $ws } @answers;

            } elsif ($ws == $beats) {
                $beat = $1 if $f->{payload} =~ /^\{"ping":(\d+)\}$/;
                $ws->send_json({ op => 'ping' });

            } else {
                $data{$ws}++;
            }
        }
    }

    $talks->send_json({ op => 'ping' });
}

ok(wait_for(sub { turn(); 6 <= ($pings{ $answers[0] } || 0) }, 20),
   'who answers is asked again and again');

for my $n (0, 1) {
    ok(!$answers[$n]->eof, 'who answers stays, worker ' . ($n + 1));
    ok($mute[$n]->eof, 'who does not is cut, worker ' . ($n + 1));
    is($pings{ $mute[$n] }, 1, 'after one ping that it did not answer');
}

ok($raw->eof, 'raw: the same');
ok(!$talks->eof, 'who talks is alive');
ok(!$silent->eof && !$pings{$silent}, 'no pings where there are none');
ok(!$patient->eof, 'fanout_timeout is for an answer');
ok(!$beats->eof, 'an answer to the heartbeat counts');
ok($beat && abs($beat / 1000 - time) < 60, 'which has the time of the server');
ok(!$data{ $answers[0] }, 'others have no heartbeat');
ok($nginx->log_like(qr/does not answer pings/), 'the log tells');

$_->ok('ping') for @answers, $talks, $silent, $patient;


subtest 'frames that don\'t end' => sub {
    my %begun = (
        'a header'                  => "\x81",
        'a length'                  => "\x81\xfe\x01",
        'a mask'                    => "\x81\x85\1\2",
        'a payload'                 => substr(frame(1, 'payload'), 0, 8),
        'a ping'                    => substr(frame(9, 'payload'), 0, 8),
        'a message, frames of it'   => frame(1, 'frag', fin => 0),
        'the same and pings'        => frame(1, 'frag', fin => 0) . frame(9, ''),
    );

    for my $worker ($one, $two) {
        my %ws = map { $_ => $nginx->native(path => '/native',
                                            worker => $worker) } keys %begun;

        $ws{$_}->send_bytes($begun{$_}) for keys %begun;

        # bytes that trickle in, and pongs, win no time

        my $slow  = $nginx->native(path => '/native', worker => $worker);
        my @bytes = split //, frame(1, '{' . ' ' x 20_000);

        my $code = wait_for(sub {
            $slow->send_bytes(shift @bytes) if @bytes > 1;
            $slow->recv_message(0.01);
            return $slow->close_code;
        }, 10);

        is($code, 4408, 'a byte now and then');

        for (sort keys %ws) {
            is($ws{$_}->wait_close, 4408, $_);
            like($ws{$_}->close_reason, qr/not finished in time/, "$_: why");
        }
    }

    my $ws = $nginx->native(path => '/native');
    my $n  = 0;

    # parts that come in time, for longer than the deadline of one

    wait_for(sub {
        $ws->send_bytes(frame(1, '{"op":"pi', fin => 0));
        $ws->recv_message(0.05);
        $ws->send_frame(0, 'ng"}');
        $ws->recv_message(0.05);
        return ++$n >= 15 || $ws->eof;
    }, 20);

    is($ws->ok('ping')->{time} > 0, 1, 'messages that end have no deadline');
};


subtest 'handshakes that don\'t end are NGINX\'s' => sub {
    my $s = Fanout::Socket->open(port => $nginx->port);

    $s->send_bytes("GET /native HTTP/1.1\r\nHost: a\r\nUpgrade: webso");
    $s->cut;
    is($nginx->native(path => '/native')->status, 101, 'and harm nobody');
};

is_deeply([ $nginx->worker_pids ], [ $one, $two ], 'the workers live');

done_testing();
