#!/usr/bin/env perl

# A worker that stands still (SIGSTOP, a slow disk, a debugger): if this
# fails, those on other workers wait with it, or the zone fills with what it
# has not read, or its clients miss messages and are not told.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw( sleep );

use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::Nginx;


my $seconds = $ENV{TEST_LONG} ? 20 : 5;

my $nginx = Fanout::Nginx->start(
    http   => 'fanout_zone app 2m held=20%;
               fanout_channel app few* history=10;
               fanout_channel app *    history=1000 ttl=1h;',
    server => 'location /rt { fanout app; fanout_permit all *; }
               location /fanout { fanout_api app; }
               location = /status { fanout_status app; }'
);

my ($one, $two) = $nginx->worker_pids;
my $http = $nginx->http(worker => $two);

sub zone { $http->get('/status')->json->{zone} }

sub publish {
    my ($channel, $data) = @_;

    my $r = $http->post("/fanout/channels/$channel/messages", qq("$data"));

    return $r->{status} == 201;
}


# Stops it, but not inside a lock of the zone: the section is short, and who
# dies in it is taken care of, but who stands still in it can't be.

sub stop_worker {
    for (1 .. 20) {
        $nginx->signal($one, 'STOP');

        return 1 if eval { $http->get('/status', timeout => 2); 1 };

        $nginx->signal($one, 'CONT');
        $http->disconnect;
        $http = $nginx->http(worker => $two);
    }

    return 0;
}


# Offsets and gaps as they come; true if nothing is missing up to the last

sub account {
    my ($client, $join, $last) = @_;

    my ($at, $gaps, @wrong) = ($join->{offset}, 0);

    while ($at < $last) {
        my $push = $client->next_push(10) or last;

        my $gap = $push->{gap};
        my $n   = $gap ? $gap->{from} : $push->{offset};

        push @wrong, Fanout::JSON::encode($push) . " after $at"
            if $n != $at + 1;

        $gaps++ if $gap;
        $at = $gap ? $gap->{to} : $n;
    }

    is_deeply(\@wrong, [], 'every offset is accounted for');
    is($at, $last, 'up to the last');

    return $gaps;
}


subtest 'others go on, it catches up' => sub {
    my $join;
    my @stopped = map { $nginx->native(path => '/rt', worker => $one) } 1 .. 3;
    my @others  = map { $nginx->native(path => '/rt', worker => $two) } 1 .. 3;

    $join = $_->ok(join => channel => 'room') for @stopped, @others;

    ok(stop_worker(), 'it is stopped');

    my $end  = time + $seconds;
    my ($n, $slowest, $missed) = (0, 0, 0);

    while (time < $end) {
        my $at = time;

        publish('room', ++$n) or $missed++;

        for (@others) {
            my $push = $_->next_push;
            $missed++ if !$push || $push->{data} ne $n;
        }

        $slowest = time - $at if time - $at > $slowest;
        sleep 0.01;
    }

    is($missed, 0, 'the others miss nothing');

    my $new = $nginx->native(path => '/rt');
    is($new->ok(join => channel => 'room')->{offset}, $join->{offset} + $n,
       'a new client is served');

    is_deeply([ map { $_->drain } @stopped ], [], 'its own clients wait');
    is(zone()->{limits}{workers}, 2, 'it is not taken for dead');

    $nginx->signal($one, 'CONT');

    is(account($_, $join, $join->{offset} + $n), 0, 'it catches up')
        for @stopped;

    publish('room', 'then');
    is($_->next_push->{data}, 'then', 'and all go on')
        for @stopped, @others, $new;

    diag(sprintf 'stopped for %d s: %d messages to others on the way, each'
         . ' published and received by three in at most %.1f ms', $seconds,
         $n, 1000 * $slowest);
    $_->cut for @stopped, @others, $new;
};


subtest 'with more than may be held' => sub {
    my @names = map { "few$_" } 1 .. 4;
    my $client = $nginx->native(path => '/rt', worker => $one);
    my $other  = $nginx->native(path => '/rt', worker => $two);
    my %join;

    for my $name (@names) {
        $join{$name} = $client->ok(join => channel => $name);
        $other->ok(join => channel => $name);
    }

    my $resting = $nginx->native(path => '/rt', worker => $one);
    my $quiet = $resting->ok(join => channel => 'quiet');

    ok(stop_worker(), 'it is stopped');
    publish('quiet', 'one');

    # 4 MB through a zone of 2

    my ($missed, %last) = (0);

    for my $i (1 .. 1000) {
        my $name = $names[$i % @names];

        publish($name, "$i " . 'x' x 4000) or $missed++;

        my $push = $other->next_push;
        $missed++ if !$push || $push->{channel} ne $name;
        $last{$name} = $push->{offset};
    }

    is($missed, 0, 'others get what is published');

    my $zone = zone();
    cmp_ok($zone->{held}, '<=', $zone->{held_max}, 'it holds what it may');
    is($zone->{full}, 0, 'nothing was refused');

    $nginx->signal($one, 'CONT');

    # all channels are in one stream: sort them

    my %mine = map { $_ => [] } @names;

    wait_for(sub {
        push @{ $mine{$_->{channel}} }, $_ for $client->drain;
        return @names == grep {
            my $l = $mine{$_}[-1];
            $l && ($l->{offset} || 0) == $last{$_}
        } @names;
    });

    for my $name (@names) {
        my ($at, $gaps, @wrong) = ($join{$name}{offset}, 0);

        for my $push (@{ $mine{$name} }) {
            my $gap = $push->{gap};
            my $n   = $gap ? $gap->{from} : $push->{offset};

            push @wrong, "$n after $at" if $n != $at + 1;
            $gaps++ if $gap;
            $at = $gap ? $gap->{to} : $n;
        }

        is_deeply(\@wrong, [], "$name: every offset is accounted for");
        is($at, $last{$name}, "$name: up to the last");
        cmp_ok($gaps, '>=', 1, "$name: and it was told of a gap");
    }

    my $push = $resting->next_push;
    ok($push && ($push->{data} // '') eq 'one', 'a quiet channel lost nothing')
        or diag(explain($push));

    publish('few1', 'then');
    is($_->next_push->{data}, 'then', 'and all go on') for $client, $other;

    ok(wait_for(sub { zone()->{held} == 0 }), 'nothing is held any more');
    $_->cut for $client, $other, $resting;
};


subtest 'it dies while it stands still' => sub {
    my $client = $nginx->native(path => '/rt', worker => $one);
    my $other  = $nginx->native(path => '/rt', worker => $two);
    my $join   = $client->ok(join => channel => 'room');
    $other->ok(join => channel => 'room');

    ok(stop_worker(), 'it is stopped');
    publish('room', 'a');
    $nginx->kill_worker($one);
    publish('room', 'b');

    is($other->next_push->{data}, $_, "the other gets $_") for qw( a b );

    my $again = $nginx->native(path => '/rt', resume => $client->resume);
    my $back  = $again->ok(join => channel => 'room',
        since => { epoch => $join->{epoch}, offset => $join->{offset} });

    ok($again->welcome->{resumed} && $back->{recovered}, 'its client is back');
    is_deeply([ map { $_->{data} } @{ $back->{messages} } ], [qw( a b )],
              'with what it missed');
};

done_testing();
