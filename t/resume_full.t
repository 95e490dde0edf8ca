#!/usr/bin/env perl

# A zone without a free block: if this fails, a client that comes back loses its
# identity because there is no room to tell its old worker, two connections go
# on as one client, or who was disconnected or kicked stays.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Native;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 2m channels=0%-100% keys=0%-100% members=0%-100%
                           sessions=0%-100% mail=0%-100% signals=0%-100%
                           events=0%-100% history=1% address=100%;
        fanout_channel app room   presence=on linger=1m;
        fanout_channel app filler history=100000 share=1%-100%;
        large_client_header_buffers 4 16k;
END
    server => <<'END',
        location /rt {
            fanout app;
            fanout_permit all *;
            fanout_user $arg_user;
            fanout_user_info about=$arg_about;
            fanout_resume 1m;
            fanout_budget off;
            fanout_sessions_per_address off;
        }
        location /fanout { fanout_api app; }
        location = /status { fanout_status app; }
END
);

my ($one, $two) = $nginx->worker_pids;

sub zone { $nginx->http->get('/status')->json->{zone} }


sub client {
    my ($worker, $user, %o) = @_;

    return scalar $nginx->on_worker($worker, sub {
        Fanout::Native->connect(port => $nginx->port,
                                path => "/rt?user=$user", %o);
    });
}


# Live clients with profiles of that many bytes, until nobody gets in.

my @stones;

sub fill {
    my ($about, $most) = @_;

    for (1 .. $most || 1000) {
        my $stone = Fanout::Native->connect(
            port => $nginx->port, welcome => 0,
            path => '/rt?user=' . ($about ? 'stone&about=' . 'x' x $about : ''));

        my $frame = $stone->next_where(sub { $_[0]{welcome} }, 10);

        push @stones, $stone and next if $frame;

        return $stone->close_code;
    }

    return 'no end';
}


my @clients = map { client($one, "u$_") } 0 .. 3;
my @others  = map { client($one, "o$_") } 0 .. 19;

$_->ok(join => channel => 'room', presence => { data => 1 }) for @clients;

# both workers read the channel

my $watch = client($two, 'watch');
$watch->ok(join => channel => 'room');

is(fill($_), 1013, "nobody gets in any more with $_ bytes")
    for 3900, 1000, 200, 0;

# What is guaranteed to histories is left. They take it, and nobody else may.

$nginx->http->post('/fanout/channels/filler/messages', '1') for 1 .. 600;

cmp_ok(zone()->{free}, '<=', @others - 2, 'hardly a block is free');

# The last ones are taken by orders, and not given back as long as the worker
# does not read them.

$nginx->signal($one, 'STOP');

my @back;

for (0 .. $#others) {
    last if zone()->{free} == 0;
    push @back, client($two, "o$_", resume => $others[$_]->resume);
}

my @was = @clients;
my $id  = $clients[2]->client;

$clients[0] = client($two, 'u0', resume => $was[0]->resume);
$clients[1] = client($two, 'u1', resume => $was[1]->resume);

is(zone()->{free}, 0, 'none is free');

is($nginx->http->delete("/fanout/clients/$id?channel=room")->{status}, 200,
   'one is kicked');

$id = $clients[3]->client;
is($nginx->http->delete("/fanout/clients/$id")->{status}, 200,
   'and one disconnected');

$nginx->signal($one, 'CONT');


subtest 'who comes back while the old connection lives' => sub {
    for (0, 1) {
        ok($clients[$_]->welcome->{resumed}, 'is resumed');
        is($clients[$_]->client, $was[$_]->client, 'as the same client');
        $was[$_]->next_where(sub { 0 }, 20);
        is($was[$_]->close_code, 4409, 'the old connection is told');

        my $ok = $clients[$_]->ok(join => channel => 'room');

        ok((grep { $_->{client} eq $was[0]->client } @{ $ok->{members} }),
           'and it joins where it was');
    }
};


subtest 'who is kicked' => sub {
    my $left = $clients[2]->next_where(sub { $_[0]{left} }, 20);

    is($left->{left}{reason}, 'kicked', 'is told so');
    is($left->{channel}, 'room', 'of the channel');
    ok($clients[2]->ok('ping'), 'and goes on');
};


subtest 'who is disconnected' => sub {
    $clients[3]->next_where(sub { 0 }, 20);
    is($clients[3]->close_code, 4403, 'is told so');
    is($nginx->http->get("/fanout/clients/$id")->{status}, 404,
       'and is gone');
};


ok($clients[0]->ok('ping') && $clients[1]->ok('ping'),
   'who was not meant is there');

sub members {
    my $r = $nginx->http->get('/fanout/channels/room/presence')->json;

    return join ' ', sort map { $_->{client} } @{ $r->{members} };
}

my $there = join ' ', sort map { $clients[$_]->client } 0, 1;

ok(wait_for(sub { members() eq $there }), 'and all agree on that');

done_testing;
