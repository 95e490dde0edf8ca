#!/usr/bin/env perl

# kill -9 of a worker: if this fails, a crash of one worker leaves channels
# silent for people on the others, or for whoever comes next, loses what was
# acknowledged, or what was said while the clients of the dead one came back:
# over a WebSocket, by server-sent events or by long polls.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use List::Util qw( max );
use Time::HiRes ();

use Fanout::Elapsed qw( time );
use Fanout::Client;
use Fanout::Nginx;
use Fanout::Swarm;


my $channels = 64;
my $kills    = 0;

# of each: how many subscribers, how many kills

my %transports = (
    websocket => [ 2000, $ENV{TEST_LONG} ? 40 : 6 ],
    sse       => [ 600, $ENV{TEST_LONG} ? 20 : 2, events => 1 ],
    poll      => [ 600, $ENV{TEST_LONG} ? 20 : 2, polls => 1 ],
);

my $nginx = Fanout::Nginx->start(
    http   => 'fanout_zone app 64m; fanout_rate off; fanout_budget off;
               fanout_channel app * history=100000 ttl=1h;',
    server => 'location /rt { fanout app; fanout_permit all *;
                              fanout_channels_per_session 100;
                              fanout_resume 60s; }
               location /fanout { fanout_api app; }
               location = /status { fanout_status app; }'
);


sub status { $nginx->http->get('/status')->json }


# A new subscriber of all channels: on this worker, without stopping the
# others for it, or on any that is there

sub newcomer {
    my ($transport, $pid) = @_;

    my $client;

    for (1 .. 1000) {
        $client = eval {
            Fanout::Client->open($nginx, $transport, '/rt', channels => [
                map { "$transport$_" } 0 .. $channels - 1
            ])
        } or next;

        last if !$pid || $client->worker == $pid;

        $client->cut;
        $client = undef;
    }

    return $client || die "no connection to worker $pid: $@\n";
}


# What was published after that time of the clock, of every channel, reaches
# all of them

sub served {
    my ($since, @clients) = @_;

    for my $client (@clients) {
        my $end = time + 20 * $Fanout::Socket::SCALE;
        my %seen;

        while (keys %seen < $channels) {
            my $entry = $client->next_entry($end - time > 0 ? $end - time : 0)
                or return 0;

            $seen{ $entry->{channel} } = 1
                if ($entry->{time} || 0) > 1000 * $since;
        }
    }

    return 1;
}


my $incarnation = status()->{zone}{incarnation};

sub kill_under {
    my ($transport) = @_;

    my ($subs, $times, @how) = @{ $transports{$transport} };
    my $before = $kills;

    my $swarm = Fanout::Swarm->start($nginx, subs => $subs,
        prefix => $transport, channels => $channels, pubs => 4, api_pubs => 3,
        post_pubs => 1, rate => 300, duration => 600_000, limit => 700,
        settle => 30000, retry => 5, need_resumed => 1, @how);

    ok($swarm->wait_ready(60), "$transport: $subs subscribers have joined")
        or diag($swarm->failure);

    # between two polls there is no session: as many were answered

    ok(wait_for(sub {
        !grep { ($transport eq 'poll' ? $_->{counters}{connects}
                                      : $_->{sessions}) < $subs / 5 }
              @{ status()->{workers} }
    }),
       "$transport: on both workers") or diag(explain(status()->{workers}));


    my @took;

    for my $i (1 .. $times) {
        my @pids = $nginx->worker_pids;
        my ($victim, $other) = @pids[ $i % 2 ? (0, 1) : (1, 0) ];

        my $witness = newcomer($transport, $other);

        my $began = time;
        my $since = Time::HiRes::time();
        $nginx->signal($victim, 'KILL');
        $nginx->allow(qr/worker process $victim exited on signal/);

        my $new = newcomer($transport);
        ok(served($since, $witness, $new), "$transport, kill $i: old and new"
           . " subscribers of the survivor get all channels");
        push @took, time - $began;

        ok($nginx->wait_gone(10, $victim)
           && wait_for(sub { $nginx->worker_pids == 2 }),
           "$transport, kill $i: two workers");

        my ($young) = grep { $_ != $other } $nginx->worker_pids;

        ok(served(Time::HiRes::time(), $witness, $new,
                  newcomer($transport, $young)),
           "$transport, kill $i: and so do those of the new worker");

        $_->cut for $witness, $new;
    }

    $kills += $times;


    # Both at once: nobody is left who could clean up or wake anybody

    my @both = $nginx->worker_pids;

    $nginx->allow(qr/worker process $_ exited on signal/) for @both;
    kill 'KILL', @both;

    ok($nginx->wait_gone(10, @both)
       && wait_for(sub { $nginx->worker_pids == 2 }),
       "$transport, both: two workers");
    ok(served(Time::HiRes::time(), newcomer($transport),
              map { newcomer($transport, $_) } $nginx->worker_pids),
       "$transport, both: and their subscribers get all channels");
    $kills += 2;


    $swarm->stop;

    my $r = $swarm->report(60);

    $swarm->check("$transport: nothing acknowledged is lost, nothing missed,"
                  . ' none doubled');
    cmp_ok($r->{cuts}, '>', $subs / 5 * ($kills - $before),
           "$transport: subscribers were cut");
    is($r->{acked}, $r->{sent},
       "$transport: all that was published is acknowledged");
    cmp_ok($r->{recovered}, '>=', $r->{cuts}, "$transport: all recovered");

    diag(sprintf '%s, %d kills: a channel of the others was served again after'
         . ' at most %.0f ms (chosen at random among 64), the slowest subscriber'
         . ' was back after %.0f ms, a delivery took at most %.0f ms live,'
         . ' %.0f replayed',
         $transport, $kills - $before, 1000 * max(@took), $r->{rejoin_max_ms},
         $r->{live_max_ms}, $r->{replay_max_ms});
}


kill_under($_) for Fanout::Client->transports;

ok(wait_for(sub {
    my $zone = status()->{zone};
    return $zone->{reaped} == $kills && $zone->{limits}{workers} == 2;
}), 'every dead worker was reaped, two slots are in use');

is(status()->{zone}{incarnation}, $incarnation, 'the zone was never rebuilt');

done_testing();
