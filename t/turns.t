#!/usr/bin/env perl

# A turn of a worker belongs to all.  If this fails, a few frames of some bytes
# (64 histories, compressed; arrays of commands) hold a worker for seconds, and
# everybody else on it waits.
#
# What comes first is seen by requests for the status that the server has had
# before it began: they are one write on one connection, and the worker stands
# still until all is there.  A worker answers one of them each time it comes
# round, so that what the counters grow by from one to the next is what it did
# in between.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Socket;


my $asks = 24;

my $nginx = Fanout::Nginx->start(
    workers => 1,
    http    => 'fanout_zone app 64m;
                fanout_channel app * history=200 bytes=16m ttl=1h;',
    server  => 'fanout_permit all *;
                fanout_rate off;
                fanout_message_size 256k;
                client_body_buffer_size 512k;
                location /rt     { fanout app; fanout_deflate on; }
                location /plain  { fanout app; }
                location /api/   { fanout_api app; }
                location /status { fanout_status app; }'
);

my ($pid) = $nginx->worker_pids;
my $http = $nginx->http;

# 10 MB, in messages that are a part each

for my $i (1 .. 200) {
    my $r = $http->post('/api/channels/big/messages',
                        Fanout::JSON::encode("lorem ipsum $i " x 3500));
    die $r->{status} if $r->{status} != 201;
}

my $histories = '[' . join(',', map {
    qq({"id":$_,"op":"history","channel":"big","limit":200})
} 1 .. 64) . ']';


sub worker { $http->get('/status')->json->{workers}[0]{counters} }


# the counters of the worker, time after time, while it does what was sent

sub while_working {
    my (@send) = @_;

    my $status = Fanout::Socket->open(port => $nginx->port);

    my @counters = worker();

    kill STOP => $pid;
    $_->() for @send;
    $status->send_bytes("GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n" x $asks);
    kill CONT => $pid;

    while (@counters <= $asks) {
        my $buffer = $status->buffer;

        if ($$buffer =~ /\A(HTTP.*?\r\n\r\n)/s) {
            my $head = $1;
            my ($len) = $head =~ /Content-Length: (\d+)/i
                or die "no length: $head";

            if (length $$buffer >= length($head) + $len) {
                my $body = substr $$buffer, length $head, $len;
                substr $$buffer, 0, length($head) + $len, '';
                push @counters, Fanout::JSON::decode($body)
                                    ->{workers}[0]{counters};
                next;
            }
        }

        $status->fill(60) or die 'no more of the status: '
                                 . scalar @counters;
    }

    $status->cut;

    return @counters;
}


sub most {
    my ($name, @counters) = @_;

    my $most = 0;

    for my $i (1 .. $#counters) {
        my $more = $counters[$i]{$name} - $counters[$i - 1]{$name};
        $most = $more if $more > $most;
    }

    die "nothing of $name was seen" if !$most;

    return $most;
}


# all it has to say, until it says no more

sub ends {
    my ($ws, $id) = @_;

    while (my $m = $ws->recv_message(60)) {
        return 1 if $m->{payload} =~ /\A\{"id":$id,"ok"/
                    || $m->{payload} =~ /\A\[/;
    }

    return 0;
}


# What a worker does in a turn is the same each time, but where the machine is
# busy an answer may come a turn late, and stand for two: then it is asked again.

sub greedy {
    my ($name, $limit, $goes_on, $path, $send) = @_;

    my $most;

    for (1 .. 3) {
        my @greedy = map { $nginx->ws(path => $path,
                                      deflate => $path eq '/rt') } 1 .. 8;
        my @c = while_working(map { my $ws = $_; sub { $send->($ws) } } @greedy);

        $most = most($name => @c);

        ok(wait_for(sub { worker()->{$name} > $c[0]{$name} + $goes_on }),
           'it goes on');

        $_->cut for @greedy;
        last if $most < $limit;
    }

    cmp_ok($most, '<', $limit, "$name before others have their turn: $most");
}


subtest 'histories, compressed' => sub {
    greedy('deflated_in', 512 * 1024, 2_000_000, '/rt',
           sub { $_[0]->send_deflated(1, $histories) });
};


subtest 'histories, as they are' => sub {
    greedy('sent_bytes', 1024 * 1024, 500_000, '/plain',
           sub { $_[0]->send_text($histories) });
};


subtest 'arrays of commands' => sub {
    my $array = '[' . join(',', map {
        '{"op":"publish","channel":"c","data":1,"store":false}'
    } 1 .. 64) . ']';

    my @busy = map { $nginx->ws(path => '/plain') } 1 .. 40;

    my @c = while_working(map {
        my $ws = $_;
        sub { $ws->send_bytes($ws->frame(1, $array) x 4) }
    } @busy);

    my $most = most(published => @c);

    # an array is done as a whole, but one of each at a time

    cmp_ok($most, '<', 4000, "commands in a turn: $most");

    my $all = 40 * 4 * 64;
    my $before = $c[0]{published};

    ok(wait_for(sub {
        worker()->{published}
            >= $before + $all
    }), 'all are done in the end');

    $_->cut for @busy;
};


subtest 'what a turn leaves is in order' => sub {
    my $ws = $nginx->native(path => '/plain');
    my $n = 600;

    $ws->ok(join => channel => 'order');

    # more than a step has room for, in one write

    my $text = join '', map {
        $ws->frame(1, '[' . join(',', map {
            qq({"id":$_,"op":"publish","channel":"order","data":$_})
        } $_ * 50 + 1 .. $_ * 50 + 50) . ']')
    } 0 .. $n / 50 - 1;

    $ws->send_bytes($text . $ws->frame(1, '{"id":"last","op":"ping"}'));

    my (@replies, @told);

    while (my $m = $ws->recv_message(60)) {
        my $j = Fanout::JSON::decode($m->{payload});
        my @all = ref $j eq 'ARRAY' ? @$j : ($j);

        push @told, map { $_->{data} } grep { exists $_->{data} } @all;
        push @replies, map { $_->{id} } grep { exists $_->{id} } @all;

        last if @told == $n && @replies && $replies[-1] eq 'last';
    }

    is_deeply(\@replies, [ 1 .. $n, 'last' ], 'replies');
    is_deeply(\@told, [ 1 .. $n ], 'and its own messages');
};


subtest 'a POST' => sub {
    my $array = '[' . join(',', map {
        qq({"id":$_,"op":"publish","channel":"post","data":$_})
    } 1 .. 64) . ']';

    for (1 .. 3) {
        my $r = $http->post('/plain', $array,
                            headers => { 'Content-Type'
                                         => 'application/json' });

        is($r->{status}, 200, 'is answered');
        is_deeply([ map { $_->{id} } @{ $r->json } ], [ 1 .. 64 ],
                  'whole, in order');
    }
};


done_testing();
