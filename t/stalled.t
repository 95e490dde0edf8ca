#!/usr/bin/env perl

# A subscriber that stops reading: if this fails, one phone in a tunnel fills
# the zone or a worker's memory, holds up everybody else, or is not told what
# it missed when it is back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw( sleep );

use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Swarm;


my $seconds = $ENV{TEST_LONG} ? 60 : 10;
my $rate    = 20;
my $size    = 100_000;
my $grow    = ($ENV{TEST_SANITIZE} ? 8 : 2) * 1024 * 1024;

# what is freed goes at once, or a worker with ASan grows as a matter of course

$ENV{ASAN_OPTIONS} = join ':', grep { defined } $ENV{ASAN_OPTIONS},
                                                'quarantine_size_mb=1';

my $nginx = Fanout::Nginx->start(
    http   => 'fanout_zone app 32m; fanout_rate off; fanout_budget off;
               fanout_channel app * history=20 ttl=1h;
               client_body_buffer_size 256k;',
    server => 'fanout_message_size 256k; fanout_ping 10m;
               location /rt { fanout app; fanout_permit all *;
                              fanout_buffer 256k; }
               location /raw { fanout app; fanout_permit all *;
                               fanout_dialect raw; }
               location /fanout { fanout_api app; }
               location = /status { fanout_status app; }'
);

my @pids = $nginx->worker_pids;
my $http = $nginx->http;


sub zone { $http->get('/status')->json->{zone} }


sub publish {
    my ($n) = @_;

    my $data = '"' . "$n " . 'x' x $size . '"';

    return $http->post('/fanout/channels/room/messages', $data)->{status};
}


# On both workers: some who stop reading at once, and some who read

my @stalled = map {
    my $pid = $_;
    map {
        my $client = $nginx->native(path => '/rt', worker => $pid,
                                    rcvbuf => 16384);
        $client->ok(join => channel => 'room');
        $client;
    } 1 .. 5
} @pids;

my $raw = $nginx->ws(path => '/raw?channel=room', rcvbuf => 16384);

my @readers = map { $nginx->native(path => '/rt', worker => $_) } @pids;
$_->ok(join => channel => 'room') for @readers;

my @got = map { [] } @readers;


# What a frame has: ["offset", N, data is right] or ["gap", from, to].  Too
# much comes here to be parsed as JSON.

sub entries {
    my ($client, $timeout) = @_;

    my $m = $client->recv_message($timeout) or return;
    my @entries;

    while ($m->{payload} =~ /"gap":\{"from":(\d+),"to":(\d+)\}
                            |"offset":(\d+),[^{}]*?"data":"(\d+)[ ](x*)"/gx)
    {
        push @entries, defined $1 ? [ 'gap', $1, $2 ]
                     : [ 'offset', $3, $4 == $3 && length $5 == $size ];
    }

    return @entries;
}


sub read_some {
    for my $i (0 .. $#readers) {
        while (my @entries = entries($readers[$i], 0)) {
            push @{ $got[$i] },
                map { $_->[0] eq 'offset' && $_->[2] ? $_->[1] : 'wrong' }
                @entries;
        }
    }
}


# The first messages fill the history and the sockets; what is used then is
# what may be used.

my $warm  = 3 * $rate;
my $total = $rate * $seconds;
my ($refused, $slowest) = (0, 0);
my (@rss, $used);
my ($most_used, @most_rss) = (0, 0, 0);

my $began = time;

for my $n (1 .. $total) {
    my $at = time;

    $refused++ if publish($n) != 201;
    $slowest = time - $at if time - $at > $slowest;

    my $zone = zone();
    my $now  = $zone->{blocks} - $zone->{free};
    my @now  = map { $nginx->rss($_) } @pids;

    $most_used = $now if $now > $most_used;

    for my $i (0, 1) {
        $most_rss[$i] = $now[$i] if $now[$i] > $most_rss[$i];
    }

    if ($n == $warm) {
        ($used, @rss) = ($most_used, @most_rss);
    }

    read_some();

    my $rest = $began + $n / $rate - time;
    sleep $rest if $rest > 0;
}

is($refused, 0, 'no publish was refused');

cmp_ok($most_used - $used, '<=', 2 * $size / zone()->{block_size},
       'the zone does not grow');
cmp_ok($most_rss[$_] - $rss[$_], '<', $grow, "worker $_ does not grow")
    for 0, 1;

diag(sprintf '%d x %d bytes at %d/s: zone from %d to %d blocks, workers grew'
     . ' by %s kB, the slowest publish took %.1f ms', $total, $size, $rate,
     $used, $most_used,
     join(' and ', map { ($most_rss[$_] - $rss[$_]) >> 10 } 0, 1),
     $slowest * 1000);


# The others got everything, live

for my $i (0 .. $#readers) {
    wait_for(sub { read_some(); @{ $got[$i] } >= $total });
    is_deeply($got[$i], [ 1 .. $total ], "reader $i missed nothing");
}


# Those who stalled read again: what was on its way, the gap, the rest

sub hear {
    my ($client) = @_;

    my ($last, $gaps, @wrong) = (0, 0);

    while ($last < $total and my @entries = entries($client, 10)) {
        for (@entries) {
            my ($what, $n, $more) = @$_;

            push @wrong, "$what $n after $last" if $n != $last + 1;

            $gaps++ if $what eq 'gap';
            push @wrong, "other data at $n" if $what eq 'offset' && !$more;
            push @wrong, "gap to $more" if $what eq 'gap' && $more < $n;

            $last = $what eq 'gap' ? $more : $n;
        }
    }

    return ($last, $gaps, @wrong);
}

for my $i (0 .. $#stalled) {
    my ($last, $gaps, @wrong) = hear($stalled[$i]);

    is_deeply(\@wrong, [], "stalled $i: all offsets are accounted for");
    is($last, $total, "stalled $i: up to the last");
    is($gaps, 1, "stalled $i: it was told of one gap");
}

publish($total + 1);

is_deeply([ entries($_) ], [ [ 'offset', $total + 1, 1 ] ], 'and goes on')
    for @stalled;


# Raw has no words for it: a close frame tells

my ($n, @wrong) = (0);

while (my $m = $raw->recv_message(10)) {
    $n++;
    push @wrong, $n if substr($m->{payload}, 0, 10) !~ /^"$n x/;
}

is_deeply(\@wrong, [], 'raw: what came is in order');
cmp_ok($n, '<', $total, 'raw: it was not all');
is($raw->close_code, 1013, 'raw: the close code says so')
    or diag($raw->close_reason);

$_->cut for @stalled, @readers;


# The same among many, who stop for a while and go on; all is checked

my $swarm = Fanout::Swarm->start($nginx, subs => 30, stalled => 10,
    stall => 3000, channels => 2, per_sub => 2, pubs => 2, rate => 30,
    size => 50000, size_to => 100000, duration => 5000, allow_gap => 1,
    settle => 20000);

$swarm->check('30 subscribers, of which 10 stop for three seconds');
cmp_ok($swarm->report->{gaps}, '>', 0, 'gaps were told');

my $lagged = $http->get('/status')->json->{counters}{lags};
cmp_ok($lagged, '>=', 10, 'the status counts those who lag');

done_testing();
