#!/usr/bin/env perl

# Hundreds of streams of events on several channels each, under load, while
# they are cut, workers are killed and NGINX is reloaded: if this fails, some of
# them miss a message, see one twice or in another order than those who have a
# WebSocket, or are held back by one that does not read.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw( sleep );

use Fanout::Nginx;
use Fanout::Swarm;


my $kills = $ENV{TEST_LONG} ? 30 : 4;
my $subs  = $ENV{TEST_SANITIZE} ? 60 : 300;

my $n     = 0;

my $nginx = Fanout::Nginx->start(
    http   => 'fanout_zone app 64m user=100% address=100%; fanout_rate off; fanout_budget off;
               fanout_channel app * history=100000 ttl=1h;',
    server => 'location /rt { fanout app; fanout_permit all *;
                              fanout_drain 500ms; fanout_resume 60s; }
               location /fanout { fanout_api app; }
               location = /status { fanout_status app; }'
);


sub swarm {
    my ($name, $while, %o) = @_;

    $n++;

    my $swarm = Fanout::Swarm->start($nginx, events => 1, path => '/rt',
                                     subs => $subs,
                                     prefix => "swarm$n-", %o);

    $swarm->wait_ready or die $swarm->failure;
    $while->() if $while;

    my $r = $swarm->report;

    $swarm->check($name);
    cmp_ok($r->{delivered}, '>', 0, "$name: deliveries");

    note(join ', ', map { "$_ $r->{$_}" }
         qw( delivered connects cuts own_cuts recovered joins gaps ));

    return $r;
}


# flat out, so that a worker can't read all there is in one turn

swarm('order', undef, channels => 16, per_sub => 4, pubs => 6, api_pubs => 2,
      messages => $ENV{TEST_SANITIZE} ? 3000 : 20_000);

my $r = swarm('cut at random', undef, channels => 16, per_sub => 4, pubs => 4,
              duration => 4000, rate => 3000, churn => 100);

cmp_ok($r->{recovered}, '>', $r->{own_cuts}, 'and recovered by one id');

$r = swarm('killed', sub {
    for my $i (1 .. $kills) {
        $nginx->kill_worker(($nginx->worker_pids)[ $i % 2 ]);
        sleep 1;
    }
}, channels => 64, per_sub => 5, pubs => 4, rate => 2000,
   duration => 1500 * $kills, churn => 20);

cmp_ok($r->{recovered}, '>', 0, 'and back');

$r = swarm('reloaded', sub { $nginx->reload; sleep 1; $nginx->reload },
           channels => 64, per_sub => 5, pubs => 4, rate => 2000,
           duration => 4000);

cmp_ok($r->{closings}, '>', 0, 'which is announced');
