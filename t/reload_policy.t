#!/usr/bin/env perl

# Policies over a reload. If this fails, a channel keeps the policy of an old
# configuration, a worker that is shutting down puts it back and cuts the
# history, or members stay listed where presence was turned off.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


sub zone {
    my ($policy, $o) = @_;

    return 'fanout_zone app 16m ' . ($o // '') . ";
            fanout_channel app * $policy;";
}

my $nginx = Fanout::Nginx->start(
    http    => zone('history=10'),
    workers => 1,
    server  => 'location /rt { fanout app; fanout_user $arg_user;
                               fanout_permit all *; fanout_drain 10m; }
                location /fanout { fanout_api app; }
                location = /status { fanout_status app; }',
);


sub publish {
    my ($channel, $n) = @_;

    my $http = $nginx->http;

    $http->post("/fanout/channels/$channel/messages", qq("$_")) for 1 .. $n;
}

sub kept {
    my $h = $nginx->http->get("/fanout/channels/$_[0]/messages?limit=1000");

    return scalar @{ $h->json->{messages} };
}

sub status { $nginx->http->get('/status')->json }

sub members {
    my $r = $nginx->http->get("/fanout/channels/$_[0]/presence")->json;

    return "$r->{presence} $r->{count} " . @{ $r->{members} };
}


subtest 'who only publishes' => sub {
    publish('quiet', 20);
    is(kept('quiet'), 10, 'ten are kept');

    $nginx->reload(http => zone('history=50'));
    publish('quiet', 60);
    is(kept('quiet'), 50, 'fifty after the reload');

    $nginx->reload(http => zone('history=0'));
    publish('quiet', 1);
    is(kept('quiet'), 0, 'none after the next');
};


subtest 'a worker that is shutting down' => sub {
    $nginx->reload(http => zone('history=10'));

    my $old = $nginx->native(path => '/rt');

    $nginx->reload(http => zone('history=50'));

    my $new = $nginx->native(path => '/rt');

    $new->ok(join => channel => 'room');
    publish('room', 50);
    is(kept('room'), 50, 'the new policy');

    $old->ok(join => channel => 'room');
    $old->ok(publish => channel => 'room', data => 1);
    publish('room', 5);
    is(kept('room'), 50, 'stays when an old worker opens the channel');

    $old->ok(publish => channel => 'made', data => $_) for 1 .. 20;
    publish('made', 50);
    is(kept('made'), 50, 'and comes to one that the old worker made');

    my $status = status();
    my %generation = map { $_->{generation} => 1 } @{ $status->{workers} };

    is($status->{worker}{generation}, $status->{zone}{generation},
       'the new worker has the configuration in force');
    ok((grep { $_ < $status->{zone}{generation} } keys %generation),
       'an old one has an earlier');

    $_->cut for $old, $new;
};


subtest 'parameters of the zone' => sub {
    $nginx->reload(http => zone('history=10', 'idle=70s dedupe=80s held=50%'));

    my $zone = status()->{zone};

    is($zone->{limits}{idle}, 70, 'idle=');
    is($zone->{limits}{dedupe}, 80, 'dedupe=');
    cmp_ok($zone->{held_max}, '>', $zone->{blocks} * 0.49, 'held=');

    $nginx->reload(http => zone('history=10'));
    $zone = status()->{zone};

    is($zone->{limits}{idle}, 300, 'idle= is what it was');
    is($zone->{limits}{dedupe}, 120, 'dedupe=');
    cmp_ok($zone->{held_max}, '<', $zone->{blocks} * 0.13, 'held=');
};


subtest 'more patterns than there are classes, one after the other' => sub {
    for my $n (1 .. 3) {
        $nginx->reload(http => 'fanout_zone app 16m;' . join '',
            map { "fanout_channel app p$n.$_.* history=1;" } 1 .. 20);
        publish("p$n.20.x", 1);
    }

    # those of the configurations before give way

    my ($class) = grep { $_->{pattern} eq 'p3.20.*' } @{ status()->{classes} };

    is($class && $class->{messages}, 1, 'the last is counted by its name');
};


subtest 'presence is turned off' => sub {
    $nginx->reload(http => zone('presence=on linger=30s'));

    my @clients = map { $nginx->native(path => "/rt?user=$_") } qw( ann bob );

    $_->ok(join => channel => 'here', presence => {}) for @clients;
    is(members('here'), 'on 2 2', 'two are there');

    $nginx->reload(http => zone('presence=off linger=30s'));
    is(members('here'), 'on 2 2',
       'they stay as long as the old worker has them');

    for my $old (@clients) {
        my $user = $old == $clients[0] ? 'ann' : 'bob';
        my $new  = $nginx->native(path => "/rt?user=$user",
                                  resume => $old->resume);

        ok($new->welcome->{resumed}, "$user comes back");
        $new->ok(join => channel => 'here');
    }

    ok(wait_for(sub { members('here') eq 'off 0 0' }),
       'who comes back is no member any more')
        or diag(members('here'));
};
