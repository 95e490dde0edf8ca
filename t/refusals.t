#!/usr/bin/env perl

# What is sent to a client that goes on above its rate. If this fails, a few
# bytes of commands that are all refused make the server send many times as
# many; or a client is cut that does nothing wrong but be a little too fast.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Clock;
use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::Nginx;
use Fanout::WS;


my $clock = Fanout::Clock->new;
my $nginx = $clock->start(
    http => <<'END',
        fanout_zone app 16m;
        fanout_channel app * history=1000;
        fanout_channel app who:* presence=on;
END
    server => <<'END',
        fanout_permit all *;
        fanout_user $arg_user;
        fanout_ping 600s;
        fanout_budget off;
        fanout_deflate on;

        location /slow { fanout app; fanout_rate 1r/s burst=2; }
        location /user {
            fanout app;
            fanout_rate off;
            fanout_budget user commands=1/s burst=20s;
        }
        location /channels {
            fanout app;
            fanout_rate 1000r/s burst=100000;
            fanout_budget session channels=1/s burst=1s;
        }
        location /post {
            fanout app;
            fanout_rate 1r/s burst=2;
            fanout_budget user commands=1/s burst=20s;
        }
        location /waits   { fanout app; fanout_rate 200r/s burst=1; }
        location /cursors { fanout app; fanout_rate 2r/s burst=2; }
        location /free    { fanout app; fanout_rate off; }
        location = /status { fanout_status app; }
END
);

my $TOO_MANY = qr/^too many refused commands: fanout_rate, fanout_budget/;


sub counters { return $nginx->http->get('/status')->json->{counters} }

sub array {
    my ($n, $id) = @_;

    my $item = defined $id ? qq({"id":$id}) : '{}';

    return '[' . join(',', ($item) x $n) . ']';
}


# Sends frames until it is closed, n at most: bytes sent, bytes received,
# seconds, code and reason.

sub insist {
    my ($path, $frame, $n, %o) = @_;

    my $began = time;
    my $ws    = Fanout::WS->connect(port => $nginx->port, path => $path, %o);

    my ($sent, $received) = (0, 0);
    my @ended;

    my $take = sub {
        while (!@ended and my $f = $ws->recv_frame($_[0])) {
            my $len = length $f->{payload};

            $received += 2 + $len + ($len > 125 ? 2 : 0);
            @ended = unpack 'n a*', $f->{payload} if $f->{opcode} == 8;
        }
    };

    for (1 .. $n) {
        my $bytes = $frame->($ws);

        last if !$ws->send_bytes($bytes);
        $sent += length $bytes;

        $take->(0);
        last if @ended;
    }

    $take->(2);
    $ws->cut;

    return ($sent, $received, time - $began, @ended);
}


# No more than it may be, of which so many commands were done.

sub bounded {
    my ($name, $done, $sent, $received, $took, $code, $reason) = @_;

    cmp_ok($received, '<=', 1.5 * $sent + 1000 * $took + 512 * $done + 17000,
           $name)
        or diag("$received bytes for $sent in $took s");

    is($code, 4429, 'it is closed');
    like($reason, $TOO_MANY, 'and told why');
}


subtest 'arrays' => sub {
    my $n = 0;

    for my $path ('/slow', '/user') {
        my $done = $path eq '/slow' ? 2 : 40;

        for my $text (array(64), array(64, 1)) {
            bounded("$path, arrays of " . length($text) . ' bytes', $done,
                    insist("$path?user=u" . $n++,
                           sub { $_[0]->frame(1, $text) }, 1000));
        }
    }
};


# Each costs a command, but that is nothing compared with what it makes.

subtest 'another limit than that of commands' => sub {
    my $i    = 0;
    my @sent = insist('/channels', sub {
        $i++;
        return $_[0]->frame(1, '[' . join(',', map {
            qq({"op":"join","channel":"$i-$_"})
        } 1 .. 64) . ']');
    }, 200);

    cmp_ok($sent[1], '<=', (1.5 + 256 * 1.5 / 30) * $sent[0] + 1000 * $sent[2]
                           + 17000,
           'no more than for each command that costs one');
};


subtest 'compressed arrays' => sub {
    my $text = array(64, '"' . 'x' x 100 . '"');

    bounded(length($text) . ' bytes each', 2, insist('/slow', sub {
        return $_[0]->frame(1, $_[0]->deflated($text), rsv => 4);
    }, 1000, deflate => 1));
};


subtest 'frames' => sub {
    for my $text ('{}', '1', '{', '[{}]', '{"op":"ping","id":1}') {
        bounded("frames of $text", 2,
                insist('/slow', sub { $_[0]->frame(1, $text) }, 5000));
    }
};


subtest 'arrays that are too long cost a command' => sub {
    my $ws = $nginx->native(path => '/slow');

    $ws->send_text('[' . join(',', (0) x 65) . ']') for 1 .. 3;

    my @codes = map {
        my $push = $ws->next_push;
        $push->{error}{code}
    } 1 .. 3;

    is_deeply(\@codes, [ qw( too_many too_many rate_limited ) ],
              'two may be sent');
};


# The last replies of an array come before the close, also if it waited for a
# long one.

subtest 'in the middle of an array' => sub {
    my $free = $nginx->native(path => '/free');

    $free->ok('publish', channel => 'long',
              messages => [ map { { data => 'x' x 200 } } 1 .. 64 ])
        for 1 .. 15;

    my $ws = $nginx->native(path => '/slow');

    $ws->send_text(array(64));
    is(scalar @{ Fanout::JSON::decode($ws->recv_text) }, 64,
       'an array is answered');

    $ws->send_text('{}') for 1 .. 30;
    $ws->recv_text       for 1 .. 30;

    $clock->forward(2500);

    $ws->send_text('[{"id":1,"op":"history","channel":"long","limit":900},'
                   . join(',', ('{}') x 63) . ']');

    my $replies = [];
    my $parts   = 0;

    while (my $m = $ws->recv_text) {
        my $v = Fanout::JSON::decode($m);

        if (ref $v eq 'ARRAY') {
            push @$replies, @$v;

        } else {
            $parts++;
        }
    }

    is($ws->close_code, 4429, 'one that goes too far is stopped');
    cmp_ok(scalar @$replies, '>', 2, 'what was done of it is answered');
    cmp_ok(scalar @$replies, '<', 64, 'the rest is not');
    ok($replies->[0]{ok}, 'the first was a long one');
    is($replies->[-1]{error}{code}, 'rate_limited', 'the last is refused');
};


# It has an end of its own: each begins with a command of user and address.

subtest 'POST' => sub {
    my ($n, $sent, $received) = (0, 0, 0);
    my $r;

    for ($n = 1; $n <= 60; $n++) {
        my $text = array(64, $n);

        $r = $nginx->http->post('/post?user=poster', $text,
                                headers => {
                                    'Content-Type' => 'application/json' });
        last if $r->{status} == 429;

        is(scalar @{ $r->json }, 64, 'all commands are answered') if $n == 1;
        is($r->{status}, 200, 'with replies')                     if $n == 1;
    }

    cmp_ok($n, '<=', 60, 'it ends with a status');
};


# Of two commands at a time the second is refused, and sent again when it may
# be.

subtest 'a client that waits for retry_after' => sub {
    my $ws = $nginx->native(path => '/waits');

    my ($id, $refused) = (0, 0);

    for (1 .. 3000) {
        my @ids = map { ++$id } 1 .. 2;

        $ws->send_bytes(join '', map {
            $ws->frame(1, qq({"id":$_,"op":"ping"}))
        } @ids) or last;

        my @wait = map {
            my $r = $ws->reply($_);
            $r && $r->{error} ? $r->{error}{data}{retry_after} : ()
        } @ids;

        last if defined $ws->close_code;

        $refused += @wait;
        last if $refused >= 600;

        $clock->forward($wait[0]) if @wait;
    }

    cmp_ok($refused, '>=', 600, 'is refused many times');
    ok(!defined $ws->close_code, 'and stays') or diag($ws->how_it_ended);
    ok($ws->cmd('ping'), 'it is answered');
};


# A page that sends more positions than it may, and asks nobody when.

subtest 'a client whose commands are as long as usual' => sub {
    my $ws = $nginx->native(path => '/cursors');
    my $r;

    for my $i (1 .. 2000) {
        $r = $ws->cmd('signal', channel => 'room:a', event => 'cursor',
                      tag => 'me',
                      data => { x => $i, y => $i, name => 'x' x 40 });
    }

    is($r->{error}{code}, 'rate_limited', 'is refused');
    ok(!defined $ws->close_code, 'and stays');
};


# All at once is as fast as can be: the joins of a page that comes back.

subtest 'a client that joins a hundred channels at once' => sub {
    my $ws = $nginx->native(path => '/cursors');

    my @codes = map { $_->{error} ? $_->{error}{code} : 'ok' } map {
        my $n = $_;
        $ws->batch(map { { op => 'join', channel => "a:$n-$_" } } 1 .. 50)
    } 1 .. 2;

    is(scalar(grep { $_ eq 'rate_limited' } @codes), 98, 'is refused 98');
    ok($ws->cmd('ping'), 'and stays');
};


done_testing();
