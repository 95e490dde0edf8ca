#!/usr/bin/env perl

# Order: if this fails, two people on one channel see the same messages in
# different orders, miss some, or see some twice, when many publish at once or
# somebody joins or comes back at the wrong moment: over a WebSocket, by
# server-sent events or by long polls.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;
use Fanout::Swarm;


my $messages = $ENV{TEST_LONG} ? 200_000 : 20_000;

# what the subscribers are, and how many messages these get of those

my %transports = (
    websocket => [ 1 ],
    sse       => [ 0.25, events => 1 ],
    poll      => [ 0.25, polls => 1 ],
);

my $nginx = Fanout::Nginx->start(
    http   => 'fanout_zone app 64m user=100% address=100%; fanout_rate off; fanout_budget off;
                fanout_sessions_per_address off;
               fanout_channel app swarm* history=300000 ttl=1h;',
    server => 'listen 127.0.0.1:%%PORT%% reuseport;
               keepalive_requests 50;
               location /rt { fanout app; fanout_permit all *;
                              fanout_resume 30s; }
               location /fanout { fanout_api app; }
               location = /status { fanout_status app; }'
);


sub workers { @{ $nginx->http->get('/status')->json->{workers} } }


sub least {
    my ($least) = sort { $a <=> $b } @_;
    return $least;
}


sub swarm {
    my ($transport, $name, %o) = @_;

    my ($part, @how) = @{ $transports{$transport} };

    $name = "$transport, $name";
    $o{messages} = int($o{messages} * $part);

    my %before = map { $_->{pid} => $_->{counters}{connects} } workers();

    my $swarm = Fanout::Swarm->start($nginx,
        prefix => 'swarm-' . $name =~ s/, /-/r . '-',
        subs => 200, churn => 200, limit => 300, settle => 30000,
        need_resumed => 1, seed => $$, @how, %o);

    ok($swarm->wait_ready, "$name: all have joined")
        or diag($swarm->failure);

    # not sessions, which are none between two polls and when it has ended

    ok(wait_for(sub {
        least(map { $_->{counters}{connects} - $before{ $_->{pid} } }
              workers()) >= 20
    }), "$name: on both workers");

    my $r = $swarm->report;

    $swarm->check("$name: one order, no gap, no duplicate");
    is($r->{acked}, $o{messages}, "$name: every message was acknowledged");
    cmp_ok($r->{own_cuts}, '>', 20, "$name: there were reconnects");
    cmp_ok($r->{recovered}, '>', 20, "$name: and joins with since");
    cmp_ok($r->{leaves}, '>', 20, "$name: and leaves")
        if $transport eq 'websocket';
    cmp_ok($r->{delivered}, '>', $o{messages}, "$name: and deliveries");

    note(join ', ', map { "$_ $r->{$_}" }
         qw( delivered replayed recovered own_cuts leaves live_p99_ms
             publish_s elapsed_s ));
}


# 8 publishers: 4 over a WebSocket, on both workers, 2 by commands that are
# POSTed, 2 through the API

my @pubs = (pubs => 4, post_pubs => 2, api_pubs => 2);

for my $transport (sort keys %transports) {
    swarm($transport, 'one', channels => 1, @pubs, messages => $messages);
    swarm($transport, 'four', channels => 4, per_sub => 3, @pubs,
          messages => $messages / 10, size => 20, size_to => 3000);
}


# Which worker a publisher gets is chance: try again if all got the same

sub least_of {
    my ($name) = @_;

    return least(map { $_->{counters}{$name} } workers());
}

for my $i (1 .. 5) {
    last if least_of('published') && least_of('api_published');

    swarm('websocket', "more$i", channels => 1, @pubs,
          messages => $messages / 10);
}

cmp_ok(least_of($_), '>', 0, "both workers $_")
    for qw( published api_published );

done_testing();
