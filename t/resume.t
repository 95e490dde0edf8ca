#!/usr/bin/env perl

# Coming back: if this fails, a client that was cut loses its identity or what
# was said meanwhile, is told that it has everything when it has not, or
# somebody else gets its place.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 16m;
        fanout_zone tiny 2m;
        fanout_channel app none*  history=0;
        fanout_channel app few*   history=5;
        fanout_channel app short* history=100 ttl=1s;
        fanout_channel app *      history=1000 ttl=1h;
        fanout_channel tiny *     history=100000;
END
    server => <<'END',
        fanout_permit all *;
        fanout_drain  200ms;
        location /rt   { fanout app; fanout_user $arg_user; fanout_resume 1m; }
        location /soon { fanout app; fanout_user $arg_user; fanout_resume 1s; }
        location /tiny { fanout tiny; }
        location /fanout { fanout_api app; }
        location /api-tiny { fanout_api tiny; }
        location = /status { fanout_status app; }
END
);


sub pids { $nginx->worker_pids }

sub status { $nginx->http->get('/status')->json }


sub publish {
    my ($channel, @data) = @_;

    my $http = $nginx->http;

    return map {
        my $r = $http->post("/fanout/channels/$channel/messages", qq("$_"));
        die "publish: $r->{status} $r->{body}\n" if $r->{status} !~ /^2/;
        $r->json;
    } @data;
}


# On a certain worker, by one handshake only: a token is good for one

sub connect_as {
    my ($user, %o) = @_;

    if (my $pid = delete $o{worker}) {
        $o{socket} = $nginx->on_worker($pid, sub {
            my $socket = Fanout::Socket->open(port => $nginx->port);
            wait_for(sub { Fanout::Nginx::server_inode($socket) }, 2);
            $socket;
        });
    }

    return Fanout::Test::Native->connect(port => $nginx->port,
                                         path => "/rt?user=$user", %o);
}


{
    package Fanout::Test::Native;

    our @ISA = 'Fanout::Native';

    sub open {
        my ($class, %o) = @_;

        return $o{socket} ? bless $o{socket}, $class
                          : $class->SUPER::open(%o);
    }
}


sub place { { epoch => $_[0]{epoch}, offset => $_[0]{offset} + ($_[1] || 0) } }

sub data { [ map { $_->{data} } @{ $_[0]{messages} } ] }


# the first, since it waits until nobody lingers

subtest 'fanout_resume' => sub {
    my $ann = $nginx->native(path => '/soon?user=ann');
    $ann->cut;

    ok(wait_for(sub { status()->{zone}{lingering} }),
       'a cut session lingers');
    ok(wait_for(sub { !status()->{zone}{lingering} }, 20),
       'for some time');
    ok(!$nginx->native(path => '/soon?user=ann', resume => $ann->resume)
           ->welcome->{resumed}, 'then it is forgotten');
};


subtest 'the identity' => sub {
    my ($one, $two) = pids();

    for my $to ([ $one, $one ], [ $one, $two ], [ $two, $one ]) {
        my $name = $to->[0] == $to->[1] ? 'same worker' : 'other worker';

        my $ann = connect_as('ann', worker => $to->[0]);
        my $w   = $ann->welcome;

        is($w->{user}, 'ann', "$name: the user");
        ok(!$w->{resumed}, "$name: new at first");
        like($w->{resume}, qr/^r_.{16}/, "$name: a token");
        $ann->cut;

        my $again = connect_as('ann', worker => $to->[1],
                               resume => $w->{resume});

        ok($again->welcome->{resumed}, "$name: then resumed");
        is($again->client, $w->{client}, "$name: the same client");
        isnt($again->resume, $w->{resume}, "$name: with a new token");

        my $thief = connect_as('ann', resume => $w->{resume});

        ok(!$thief->welcome->{resumed}, "$name: a used token is refused");
        isnt($thief->client, $w->{client}, "$name: as somebody else");
        ok($again->ok('ping'), "$name: who has the place keeps it");

        $again->cut;
        my $third = connect_as('ann', worker => $to->[0],
                               resume => $again->resume);
        ok($third->welcome->{resumed}, "$name: the new token is good");
        $_->cut for $thief, $third;
    }
};


subtest 'whose it is' => sub {
    my $ann = connect_as('ann');
    $ann->cut;

    for my $user ('bob', '') {
        my $bob = connect_as($user, resume => $ann->resume);

        ok(!$bob->welcome->{resumed}, "user '$user' is refused");
        isnt($bob->client, $ann->client, 'and is somebody else');
        $bob->cut;
    }

    my $again = connect_as('ann', resume => $ann->resume);

    ok($again->welcome->{resumed}, 'which does not cost the owner');
    is($again->client, $ann->client, 'the place');
    $again->cut;

    my $length = length $ann->resume;

    for my $bad ('r_', 'r_x', 'nonsense', 'r_' . '0' x ($length - 2),
                 substr($again->resume, 0, -1), $again->resume . 'x',
                 'x' x 200)
    {
        my $client = connect_as('ann', resume => $bad);

        ok(!$client->welcome->{resumed}, "token '$bad' is nobody's");
        $client->cut;
    }

    ok(connect_as('ann', resume => $again->resume)->welcome->{resumed},
       'none of which hurts it');
};


subtest 'one socket for one client' => sub {
    my ($one, $two) = pids();

    for my $to ([ $one, $one ], [ $one, $two ]) {
        my $old = connect_as('ann', worker => $to->[0]);
        $old->ok(join => channel => 'room');

        my $new = connect_as('ann', worker => $to->[1],
                             resume => $old->resume);

        ok($new->welcome->{resumed}, 'a second socket takes the place');
        is($new->client, $old->client, 'of the same client');

        $old->next_where(sub { 0 });
        is($old->close_code, 4409, 'the first is told 4409');

        $new->ok(join => channel => 'room');
        publish('room', 'to the new');
        is($new->next_push->{data}, 'to the new', 'the second goes on');

        # and back and forth, as a client does that has lost its nerve

        my @all = $new;

        for my $i (1 .. 6) {
            push @all, connect_as('ann', worker => $to->[$i % 2],
                                  resume => $all[-1]->resume);
        }

        my $last = pop @all;

        is(scalar(grep { $_->welcome->{resumed} } @all, $last), 7,
           'six more times');
        $_->next_where(sub { 0 }) for @all;
        is_deeply([ map { $_->close_code } @all ], [ (4409) x 6 ],
                  'each of them is told');
        ok($last->ok('ping'), 'the last one lives');
        $last->cut;
    }
};


subtest 'a clean end is an end' => sub {
    my $ann = connect_as('ann');
    $ann->close(1000);

    ok(!connect_as('ann', resume => $ann->resume)->welcome->{resumed},
       'closed with 1000: gone');

    my $bob = connect_as('bob');
    $bob->close(1001);

    ok(connect_as('bob', resume => $bob->resume)->welcome->{resumed},
       'with 1001: may come back');
};


subtest 'after a killed worker' => sub {
    my ($one, $two) = pids();

    my @clients = map { connect_as('ann', worker => $one) } 1 .. 5;
    my @places  = map { $_->ok(join => channel => 'killed') } @clients;

    $nginx->signal($one, 'KILL');
    $nginx->allow(qr/worker process $one exited on signal/);
    publish('killed', 'a', 'b', 'c');

    for my $i (0 .. 4) {
        my $again = connect_as('ann', resume => $clients[$i]->resume);

        ok($again->welcome->{resumed}, 'resumed');
        is($again->client, $clients[$i]->client, 'the same client');

        my $join = $again->ok(join => channel => 'killed',
                              since => place($places[$i]));

        ok($join->{recovered}, 'recovered');
        is($join->{missed}, 3, 'three missed');
        is_deeply(data($join), [qw( a b c )], 'and here they are');
        $again->cut;
    }

    ok(wait_for(sub { pids() == 2 }), 'two workers');
};


subtest 'after a reload' => sub {
    my $ann  = connect_as('ann');
    my $join = $ann->ok(join => channel => 'reloaded');

    $nginx->reload;
    publish('reloaded', 'a', 'b');
    $ann->next_where(sub { 0 }, 20);
    is($ann->close_code, 1012, 'told to come back');
    publish('reloaded', 'c');

    # all that it was given already, and all else by since

    my $seen  = $join->{offset};
    my $again = connect_as('ann', resume => $ann->resume);
    ok($again->welcome->{resumed}, 'resumed');
    is($again->client, $ann->client, 'the same client');

    $join = $again->ok(join => channel => 'reloaded', since => place($join));
    ok($join->{recovered}, 'recovered');
    is_deeply(data($join), [qw( a b c )], 'with what it missed');
};


subtest 'since: exactly what was missed' => sub {
    my $ann  = connect_as('ann', worker => (pids())[0]);
    my $join = $ann->ok(join => channel => 'since');
    my @r    = publish('since', map { "m$_" } 1 .. 600);
    my $bob  = connect_as('bob', worker => (pids())[1]);

    is($r[-1]{offset}, $join->{offset} + 600, 'offsets grow by one');

    for my $n (0, 1, 2, 63, 64, 65, 255, 256, 257, 599, 600) {
        my $got = $bob->cmd(join => channel => 'since',
                            since => place($r[-1], -$n));
        my $ok  = $got->{ok};
        my @all = map { @{ $_->{messages} } } @{ $got->{part} || [] }, $ok;

        ok($ok->{recovered} && $ok->{missed} == $n, "$n missed");
        is_deeply([ map { $_->{data} } @all ],
                  [ map { "m$_" } 601 - $n .. 600 ], "$n: which they are");
        is_deeply([ map { $_->{offset} } @all ],
                  [ map { $r[-1]{offset} - $n + $_ } 1 .. $n ],
                  "$n: and their offsets");
        is($ok->{offset}, $r[-1]{offset}, "$n: the place to go on from");
        $bob->ok(leave => channel => 'since');
    }

    my $both = $bob->ok(join => channel => 'since', history => 50,
                        since => place($r[-1], -2));
    is_deeply(data($both), [qw( m599 m600 )], 'since beats history');
    publish('since', 'live');
    is($bob->next_push->{data}, 'live', 'and then it is live');
    is_deeply([ $bob->drain ], [], 'nothing twice');
};


# Never silence: when it can't be told exactly, it is said

sub unrecovered {
    my ($name, $client, $channel, $since, $data) = @_;

    my $join = $client->ok(join => channel => $channel, since => $since);

    ok(defined $join->{recovered} && !$join->{recovered},
       "$name: recovered is false");

    if ($data) {
        publish($channel, $data);
        is($client->next_push->{data}, $data, "$name: and then it is live");
    }

    return $join;
}


subtest 'recovered: false' => sub {
    my $ann = connect_as('ann');

    my ($first) = publish('few', map { "m$_" } 1 .. 20);
    unrecovered('too old', $ann, 'few', place($first), 'few goes on');

    my ($last) = (publish('few2', map { "m$_" } 1 .. 20))[-1];
    my $edge = $ann->ok(join => channel => 'few2', since => place($last, -5));
    is_deeply(data($edge), [ map { "m$_" } 16 .. 20 ],
              'the oldest that is kept is recovered');
    ok($edge->{recovered}, 'and said to be');
    unrecovered('one more', $ann, 'few2', place($last, -6));

    unrecovered('another epoch', $ann, 'few',
                { epoch => 'nonsense', offset => 1 });

    my ($p) = publish('purged', 'a', 'b');
    is($nginx->http->delete('/fanout/channels/purged')->{status}, 200,
       'a purge');
    my $join = unrecovered('purged', $ann, 'purged', place($p), 'anew');
    isnt($join->{epoch}, $p->{epoch}, 'purged: another epoch');

    ($p) = publish('ahead', 'a');
    unrecovered('an offset that is not yet there', $ann, 'ahead',
                place($p, 10), 'b');

    unrecovered('a channel that never was', $ann, 'never',
                { epoch => $p->{epoch}, offset => 1 }, 'c');

    ($p) = publish('short', 'a', 'b', 'c');
    ok(wait_for(sub {
        !@{ $nginx->http->get('/fanout/channels/short/messages')
                  ->json->{messages} }
    }, 20), 'a ttl runs out');
    unrecovered('expired', $ann, 'short', place($p), 'd');
};


subtest 'channels without history' => sub {
    my $ann  = connect_as('ann');
    my $join = $ann->ok(join => channel => 'none');

    my $same = connect_as('bob')->ok(join => channel => 'none',
                                     since => place($join));
    ok($same->{recovered}, 'nothing missed: recovered');
    is($same->{missed}, 0, 'none');
    is_deeply($same->{messages}, [], 'none');

    publish('none', 'x');
    is($ann->next_push->{data}, 'x', 'they are delivered');

    unrecovered('one missed', connect_as('bob'), 'none', place($join));

    my $now = $ann->ok(join => channel => 'none');
    ok(connect_as('bob')->ok(join => channel => 'none',
                             since => place($now))->{recovered},
       'none missed again: recovered');
};


subtest 'evicted for want of room' => sub {
    my $http = $nginx->http;
    my $body = '"' . 'x' x 4000 . '"';

    my $path  = '/api-tiny/channels/room/messages';
    my $first = $http->post($path, $body)->json;
    my $last;

    for (1 .. 800) {
        my $r = $http->post($path, $body);
        $last = $r->json;
        is($r->{status}, 201, 'a publish') if $r->{status} != 201;
    }

    my $ann = $nginx->native(path => '/tiny');
    my $join = $ann->ok(join => channel => 'room', since => place($first));

    ok(defined $join->{recovered} && !$join->{recovered}, 'not recovered');

    $join = $ann->ok(join => channel => 'room', since => place($last, -2));
    ok($join->{recovered} && $join->{missed} == 2, 'what is left is');
};

done_testing();
