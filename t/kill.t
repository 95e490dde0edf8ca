#!/usr/bin/env perl

# kill -9 of a worker: if this fails, a crash of one worker leaves channels
# silent for people on the others, or for whoever comes next, loses what was
# acknowledged, or what was said while the clients of the dead one came back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use List::Util qw( max );
use Time::HiRes qw( time );

use Fanout::Nginx;
use Fanout::Swarm;


my $channels = 64;
my $kills   = $ENV{TEST_LONG} ? 40 : 6;

my $nginx = Fanout::Nginx->start(
    http   => 'fanout_zone app 64m;
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
    my ($pid) = @_;

    my $client;

    for (1 .. 1000) {
        $client = eval { $nginx->native(path => '/rt') } or next;

        last if !$pid || $client->headers->{'x-worker'} == $pid;

        $client->cut;
        $client = undef;
    }

    $client or die "no connection to worker $pid\n";

    my @replies = $client->batch(map {
        { op => 'join', channel => "swarm$_" }
    } 0 .. $channels - 1);

    die "a join failed\n" if grep { !$_->{ok} } @replies;

    return $client;
}


# What was published after that time, of every channel, reaches all of them

sub served {
    my ($since, @clients) = @_;

    for my $client (@clients) {
        my %seen;

        $client->read_until(sub {
            for (splice @{ $client->{pushes} }) {
                $seen{ $_->{channel} } = 1 if $_->{time} > 1000 * $since;
            }

            return keys %seen == $channels;
        }, 20);

        return 0 if keys %seen != $channels;
    }

    return 1;
}


my $incarnation = status()->{zone}{incarnation};

my $swarm = Fanout::Swarm->start($nginx, subs => 2000,
    channels => $channels, pubs => 4, api_pubs => 4, rate => 800,
    duration => 600_000, limit => 700, settle => 30000, retry => 5,
    need_resumed => 1);

ok($swarm->wait_ready(60), '2,000 subscribers have joined')
    or diag($swarm->failure);

ok(wait_for(sub { !grep { $_->{sessions} < 400 } @{ status()->{workers} } }),
   'on both workers') or diag(explain(status()->{workers}));


my @took;

for my $i (1 .. $kills) {
    my @pids = $nginx->worker_pids;
    my ($victim, $other) = @pids[ $i % 2 ? (0, 1) : (1, 0) ];

    my $witness = newcomer($other);

    my $began = time;
    $nginx->signal($victim, 'KILL');
    $nginx->allow(qr/worker process $victim exited on signal/);

    my $new = newcomer();
    ok(served($began, $witness, $new),
       "kill $i: old and new subscribers of the survivor get all channels");
    push @took, time - $began;

    ok(wait_for(sub { $nginx->worker_pids == 2 }), "kill $i: two workers");

    my ($young) = grep { $_ != $other } $nginx->worker_pids;

    ok(served(time, $witness, $new, newcomer($young)),
       "kill $i: and so do those of the new worker");

    $_->cut for $witness, $new;
}


# Both at once: nobody is left who could clean up or wake anybody

my @both = $nginx->worker_pids;

$nginx->allow(qr/worker process $_ exited on signal/) for @both;
kill 'KILL', @both;

ok($nginx->wait_gone(10, @both)
   && wait_for(sub { $nginx->worker_pids == 2 }), 'both: two workers');
ok(served(time, newcomer(),
          map { newcomer($_) } $nginx->worker_pids),
   'both: and their subscribers get all channels');
$kills += 2;


$swarm->stop;

my $r = $swarm->report(60);

$swarm->check('nothing acknowledged is lost, nothing missed, none doubled');
cmp_ok($r->{cuts}, '>', 400 * $kills, 'subscribers were cut');
is($r->{acked}, $r->{sent}, 'all that was published is acknowledged');
cmp_ok($r->{recovered}, '>=', $r->{cuts}, 'all recovered');

diag(sprintf '%d kills: a channel of the others was served again after at'
     . ' most %.0f ms (chosen at random among 64), the slowest subscriber was'
     . ' back after %.0f ms, a delivery took at most %.0f ms live,'
     . ' %.0f replayed',
     $kills, 1000 * max(@took), $r->{rejoin_max_ms}, $r->{live_max_ms},
     $r->{replay_max_ms});

ok(wait_for(sub {
    my $zone = status()->{zone};
    return $zone->{reaped} == $kills && $zone->{limits}{workers} == 2;
}), 'every dead worker was reaped, two slots are in use');

is(status()->{zone}{incarnation}, $incarnation, 'the zone was never rebuilt');

done_testing();
