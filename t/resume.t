#!/usr/bin/env perl

# Coming back: if this fails, a client that was cut loses its identity or what
# was said meanwhile, is told that it has everything when it has not, or
# somebody else gets its place: over a WebSocket, by server-sent events or by
# long polls.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Client;
use Fanout::Nginx;
use Fanout::Stream;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 16m;
        fanout_zone tiny 2m;
        fanout_channel app none*  history=0;
        fanout_channel app few*   history=5;
        fanout_channel app here*  presence=on linger=1m;
        fanout_channel app short* history=100 ttl=1s;
        fanout_channel app *      history=1000 ttl=1h;
        fanout_channel tiny *     history=100000;
END
    server => <<'END',
        fanout_permit all *;
        fanout_drain  200ms;
        fanout_channels_per_session 100;
        location /rt   { fanout app; fanout_user $arg_user; fanout_resume 1m; }
        location /none { fanout app; fanout_user $arg_user; fanout_resume 1m;
                         fanout_permit join other; }
        location /mute { fanout app; fanout_user $arg_user; fanout_resume 1m;
                         fanout_permit join here*; }
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


my $transport;                  # the one whose turn it is


# The members of a channel by client

sub here {
    my ($channel) = @_;

    my $r = $nginx->http->get("/fanout/channels/$channel/presence")->json;

    return { map { $_->{client} => $_ } @{ $r->{members} } };
}


# A client of it, on a certain worker if that matters

sub connect_as {
    my ($user, %o) = @_;

    my $path = delete $o{path} || '/rt';

    return Fanout::Client->open($nginx, $transport, $path, user => $user,
                                ($o{joins} ? () : (channels => [ 'all' ])),
                                session => 1, %o);
}


# One that joins a channel behind a place of it

sub since {
    my ($channel, $place, %o) = @_;

    return connect_as($o{user} || 'bob', joins => [
        { channel => $channel, ($place ? (since => $place) : ()) }
    ], %o);
}


sub place { { epoch => $_[0]{epoch}, offset => $_[0]{offset} + ($_[1] || 0) } }


sub resumed { $_[0]->resumed ? 1 : 0 }


# the first, since it waits until nobody lingers

for (Fanout::Client->transports) {

$transport = $_;

subtest "$transport: fanout_resume" => sub {
    my $ann = connect_as('ann', path => '/soon');
    my $was = $ann->client;
    $ann->cut;

    ok(wait_for(sub { status()->{zone}{lingering} }),
       'a cut session lingers');
    ok(wait_for(sub { !status()->{zone}{lingering} }, 20),
       'for some time');
    $ann->come_back;
    ok(!resumed($ann), 'then it is forgotten');
    isnt($ann->client, $was, 'and another one');
    $ann->cut;
    ok(wait_for(sub { !status()->{zone}{lingering} }, 20), 'in its turn');
};

}


$transport = 'websocket';


subtest 'each for its own time' => sub {
    my $long  = connect_as('ann');
    my $short = connect_as('bob', path => '/soon');

    $long->cut;
    ok(wait_for(sub { status()->{zone}{lingering} == 1 }), 'one is cut');
    $short->cut;

    my $gone = sub {
        my $id = $_[0]->client;
        return $nginx->http->get("/fanout/clients/$id")->{status} == 404;
    };

    ok(wait_for(sub { $gone->($short) }, 20),
       'one that was cut later is forgotten before it');
    ok(!$gone->($long), 'which is kept');
    $long->come_back;
    ok(resumed($long), 'and comes back');
    $long->{ws}->close(1000);
};


subtest 'thrown out as its worker has died' => sub {
    my ($one, $two) = pids();

    my $watch = connect_as('watch', worker => $two, channels => [ 'here' ]);
    my $http  = $nginx->http(worker => $two);

    my ($ann, $bob, $eve) = map {
        connect_as($_, worker => $one, joins => [
            { channel => 'here', presence => { data => 1 } } ])
    } qw( ann bob eve );

    my @ids = map { $_->client } $ann, $bob, $eve;

    ok(wait_for(sub { keys %{ here('here') } == 3 }), 'three members');

    # before anybody has seen that it is dead

    $nginx->allow(qr/worker process $one exited on signal/);
    $nginx->signal($one, 'KILL');

    is($http->delete("/fanout/clients/$ids[0]")->{status}, 200,
       'one is disconnected');
    is($http->delete("/fanout/clients/$ids[1]?channel=here")->{status}, 200,
       'one is kicked');
    is($http->get("/fanout/clients/$ids[0]")->{status}, 404, 'it is gone');

    my %left;

    while (keys %left < 2) {
        my $entry = $watch->next_entry(20) or last;
        $left{ $_->{client} } = $_->{reason}
            for @{ ($entry->{presence} || {})->{left} || [] };
    }

    is_deeply(\%left, { map { $_ => 'kicked' } @ids[0, 1] },
              'and all are told why');

    ok(wait_for(sub { pids() == 2 }), 'there is another worker');
    $_->cut for $ann, $bob, $eve;

    my $again = connect_as('ann', resume => $ann->token);
    ok(!resumed($again), 'who was disconnected can not come back');
    $again->cut;

    $again = connect_as('bob', resume => $bob->token);
    ok(resumed($again), 'who was kicked can');
    $again->cut;

    $again = connect_as('eve', resume => $eve->token);
    ok(resumed($again), 'as who was not');
    is_deeply([ keys %{ here('here') } ], [ $ids[2] ],
              'who alone is a member still');
    $again->{ws}->close(1000);
};


for (Fanout::Client->transports) {

$transport = $_;


subtest "$transport: the identity" => sub {
    my ($one, $two) = pids();

    for my $to ([ $one, $one ], [ $one, $two ], [ $two, $one ]) {
        my $name = $to->[0] == $to->[1] ? 'same worker' : 'other worker';

        my $ann = connect_as('ann', worker => $to->[0]);
        my $w   = $ann->{welcome};

        is($w->{user}, 'ann', "$name: the user");
        ok(!$w->{resumed}, "$name: new at first");
        like($w->{resume}, qr/^r_.{16}/, "$name: a token");
        $ann->cut;

        my $again = connect_as('ann', worker => $to->[1],
                               resume => $w->{resume});

        ok(resumed($again), "$name: then resumed");
        is($again->client, $w->{client}, "$name: the same client");

        # a poll's stays, as an answer with another might get lost

        if ($transport ne 'poll') {
            isnt($again->token, $w->{resume}, "$name: with a new token");

            # the client is seen to have it: by the answer to a ping that
            # comes with the welcome, or by its use

            $again->ok('ping') for 1 .. 2;

            my $thief = connect_as('ann', resume => $w->{resume});

            ok(!resumed($thief), "$name: a used token is refused");
            isnt($thief->client, $w->{client}, "$name: as somebody else");
            $thief->cut;
        }

        ok($again->ok('ping'), "$name: who has the place keeps it");

        $again->cut;
        my $third = connect_as('ann', worker => $to->[0],
                               resume => $again->token);
        ok(resumed($third), "$name: the new token is good");
        is($third->client, $w->{client}, "$name: for the same client");
        $third->cut;
    }
};


# Connects with a token and is cut before anything of the welcome is read.

sub lost_welcome {
    my ($token, $worker) = @_;

    if ($transport eq 'websocket') {
        my $ws = Fanout::Native->connect(
            port => $nginx->port, path => '/rt?user=ann', welcome => 0,
            subprotocols => [ 'fanout.v1', "fanout.resume.$token" ],
            socket => scalar $nginx->on_worker($worker, sub {
                my $socket = Fanout::Client::Native->open(
                    port => $nginx->port);
                wait_for(sub { Fanout::Nginx::server_inode($socket) }, 2);
                return $socket;
            }));
        $ws->cut;
        return;
    }

    my $http = $nginx->http(worker => $worker);
    $http->start('GET', '/rt?user=ann&channel=all',
                 headers => { Accept => 'text/event-stream',
                              'Fanout-Resume' => $token });
    $http->socket->cut;
}


subtest "$transport: to where less is permitted" => sub {
    plan skip_all => 'a poll has no member without session=1'
        if $transport eq 'poll';

    my $bob = $nginx->native(path => '/rt?user=bob');
    $bob->ok('join', channel => "here:$_") for 1 .. 70, 'a';

    for my $path ('/none', '/mute') {
        my $ann = $nginx->native(path => '/rt?user=ann');
        my $id  = $ann->client;
        my @all = map { "here:$_" } 1 .. 70;

        $ann->ok('join', channel => $_, presence => { x => 1 }) for @all;
        $ann->ok('join', channel => 'here:a');
        is(scalar(grep { here($_)->{$id} } @all), 70, 'is a member');

        $ann->cut;

        my %token = ('Fanout-Resume' => $ann->resume);
        my $back;

        if ($transport eq 'websocket') {
            $back = $nginx->native(path => "$path?user=ann",
                                   resume => $ann->resume);
            is($back->client, $id, 'comes back');

        } else {
            my $s = Fanout::Stream->new($nginx, $path, query => 'user=ann&'
                . ($path eq '/none' ? 'channel=other' : 'channel=here:1'),
                headers => \%token);
            is($s->welcome->{client}, $id, 'comes back');
            $back = $s;
        }

        my $kept = $path eq '/mute';
        my $r = $bob->cmd('publish', channel => 'here:a', data => 1,
                          to => { client => $id });

        is($kept ? $r->{ok}{delivered} + $r->{ok}{pending}
                 : $r->{error}{code}, $kept ? 1 : 'recipient_offline',
           'what is said to it has a place only where it may be');

        # the reason tells it from those that it does not come back to

        my $told = 0;

        while ($told < 70) {
            my $push = $bob->next_where(sub {
                grep { $_->{client} eq $id }
                    @{ ($_[0]{presence} || {})->{left} || [] }
            }) or last;

            $told += grep { $_->{client} eq $id && $_->{reason} eq 'forbidden' }
                     @{ $push->{presence}{left} };
        }

        is($told, 70, "$path: is a member no more, and others are told");
        is(scalar(grep { here($_)->{$id} } @all), 0, 'nor in the lists');

        $back->cut;
    }
};


subtest "$transport: a welcome that is lost" => sub {
    my ($one, $two) = pids();
    my $channel = "here-$transport";

    my $bob = Fanout::Client->open($nginx, 'websocket', '/rt', user => 'bob',
        channels => [ $channel ]);

    my $ann = connect_as('ann', worker => $one, joins => [
        { channel => $channel, presence => { data => { a => 1 } } } ]);
    my ($id, $token) = ($ann->client, $ann->token);

    ok(wait_for(sub { here($channel)->{$id} }), 'she is a member');
    $ann->cut;

    # again and again, by either worker, before the last was seen to be cut

    lost_welcome($token, $_) for $one, $two, $two, $one;

    my $again = connect_as('ann', worker => $two, resume => $token);

    ok(resumed($again), 'the same token is good again');
    is($again->client, $id, 'for the same client');
    isnt($again->token, $token, 'with a new token');
    ok(here($channel)->{$id}, 'whose member is there');

    $again->ok('ping') for 1 .. 2;

    # who has it and uses it has proved that

    my $thief = connect_as('ann', resume => $token);

    ok(!resumed($thief), 'then the old one is refused');
    $thief->cut;
    ok($again->ok('ping'), 'which costs her nothing');

    # a client falls back to polls by the token it has

    $token = $again->token;
    $again->cut;
    lost_welcome($token, $one);

    my $http = $nginx->http;
    my $poll = $http->get("/rt?user=ann&channel=all&poll=1&timeout=1",
                          headers => { 'Fanout-Resume' => $token })->json;

    is($poll->[0]{welcome}{client}, $id, 'a poll goes on by it');
    ok($poll->[0]{welcome}{resumed}, 'as the same client');
    isnt($poll->[0]{welcome}{resume}, $token, 'and is told the new one');

    my $with = { 'Fanout-Resume' => $poll->[0]{welcome}{resume} };

    my $next = $http->get("/rt?user=ann&channel=all&poll=1&timeout=1",
                          headers => $with)->json;

    is($next->[0]{welcome}{client}, $id, 'which the next poll brings');
    is($next->[0]{welcome}{resume}, $with->{'Fanout-Resume'}, 'and keeps');
    ok(!resumed(connect_as('ann', resume => $token)), 'so the old is void');
    ok(here($channel)->{$id}, 'her member never left');

    publish($channel, 'now');
    1 while ($bob->next_entry->{data} || '') ne 'now';
    ok((grep { $_->{client} eq $id } $bob->members($channel))
       && !$bob->{reasons}, 'as all were told');
    $bob->cut;
} if $transport ne 'poll';


subtest "$transport: not for ever" => sub {
    my $token = connect_as('ann')->token;
    my $worker = (pids())[0];

    lost_welcome($token, $worker) for 1 .. 7;

    ok(!resumed(connect_as('ann', resume => $token)),
       'seven resumes by one token, and no more');
} if $transport ne 'poll';


subtest "$transport: whose it is" => sub {
    my $ann = connect_as('ann');
    $ann->cut;

    for my $user ('bob', '') {
        my $bob = connect_as($user, resume => $ann->token);

        ok(!resumed($bob), "user '$user' is refused");
        isnt($bob->client, $ann->client, 'and is somebody else');
        $bob->cut;
    }

    my $again = connect_as('ann', resume => $ann->token);

    ok(resumed($again), 'which does not cost the owner');
    is($again->client, $ann->client, 'the place');
    $again->cut;

    my $length = length $ann->token;

    for my $bad ('r_', 'r_x', 'nonsense', 'r_' . '0' x ($length - 2),
                 substr($again->token, 0, -1), $again->token . 'x',
                 'x' x 200)
    {
        my $client = connect_as('ann', resume => $bad);

        ok(!resumed($client), "token '$bad' is nobody's");
        $client->cut;
    }

    ok(resumed(connect_as('ann', resume => $again->token)),
       'none of which hurts it');
};


subtest "$transport: one connection for one client" => sub {
    my ($one, $two) = pids();

    for my $to ([ $one, $one ], [ $one, $two ]) {
        my $old = connect_as('ann', worker => $to->[0]);
        my $new = connect_as('ann', worker => $to->[1],
                             channels => [ 'room' ], resume => $old->token);

        ok(resumed($new), 'a second connection takes the place');
        is($new->client, $old->client, 'of the same client');
        is($old->closing(20), 4409, 'the first is told 4409');

        publish('room', 'to the new');
        is($new->next_entry->{data}, 'to the new', 'the second goes on');

        # and back and forth, as a client does that has lost its nerve

        my @all = $new;

        for my $i (1 .. 6) {
            push @all, connect_as('ann', worker => $to->[$i % 2],
                                  resume => $all[-1]->token);
        }

        my $last = pop @all;

        is(scalar(grep { resumed($_) } @all, $last), 7, 'six more times');
        is_deeply([ map { $_->closing(20) } @all ], [ (4409) x 6 ],
                  'each of them is told');
        ok($last->ok('ping'), 'the last one lives');
        $last->cut;
    }
} if $transport ne 'poll';


subtest 'a clean end is an end' => sub {
    my ($one, $two) = pids();
    my $back = 0;

    # who has the answer to its close is gone, whichever worker is asked

    for my $user (map { "user$_" } 1 .. 50) {
        my $ann = connect_as($user, worker => $one);
        $ann->{ws}->close(1000);

        my $again = connect_as($user, worker => $two, resume => $ann->token);
        $back += resumed($again);
        $again->{ws}->close(1000);
    }

    is($back, 0, 'closed with 1000: gone');

    my $bob = connect_as('bob');
    $bob->{ws}->close(1001);

    ok(resumed(connect_as('bob', resume => $bob->token)),
       'with 1001: may come back');
} if $transport eq 'websocket';


subtest "$transport: after a killed worker" => sub {
    my ($one, $two) = pids();
    my $channel = "killed-$transport";

    my @clients = map {
        connect_as('ann', worker => $one, channels => [ $channel ])
    } 1 .. 5;

    my @ids = map { $_->client } @clients;

    $nginx->signal($one, 'KILL');
    $nginx->allow(qr/worker process $one exited on signal/);
    publish($channel, 'a', 'b', 'c');

    for my $i (0 .. 4) {
        my $again = $clients[$i];
        $again->cut;
        ok(wait_for(sub { eval { $again->come_back; 1 } }), 'back');

        ok(resumed($again), 'resumed');
        is($again->client, $ids[$i], 'the same client');

        my $join = $again->joined($channel);

        ok($join->{recovered}, 'recovered');
        is($join->{missed}, 3, 'three missed') if $transport ne 'poll';
        is($again->entries(3), 'a b c', 'and here they are');
        $again->cut;
    }

    ok(wait_for(sub { pids() == 2 }), 'two workers');
};


subtest "$transport: after a reload" => sub {
    my $channel = "reloaded-$transport";
    my $ann  = connect_as('ann', channels => [ $channel ]);
    my $was  = $ann->client;
    my $join = $ann->joined($channel);

    $nginx->reload;
    publish($channel, 'a', 'b');

    is($ann->closing(20), 1012, 'told to come back')
        if $transport ne 'poll';

    publish($channel, 'c');

    # all that it was given already, and all else by since

    my $again = since($channel, place($join), user => 'ann',
                      resume => $ann->token);
    ok(resumed($again), 'resumed');
    is($again->client, $was, 'the same client');
    ok($again->joined($channel)->{recovered}, 'recovered');
    is($again->entries(3), 'a b c', 'with what it missed');
    $again->cut;
};


subtest "$transport: since: exactly what was missed" => sub {
    my $channel = "since-$transport";
    my $ann  = connect_as('ann', worker => (pids())[0],
                          channels => [ $channel ]);
    my $join = $ann->joined($channel);
    my @r    = publish($channel, map { "m$_" } 1 .. 600);
    my $to   = (pids())[1];

    is($r[-1]{offset}, $join->{offset} + 600, 'offsets grow by one');

    for my $n (0, 1, 2, 63, 64, 65, 255, 256, 257, 599, 600) {
        my $bob = since($channel, place($r[-1], -$n), worker => $to);
        my $ok  = $bob->joined($channel);
        my @all = map { $bob->next_entry } 1 .. $n;

        ok($ok->{recovered} && $ok->{missed} == $n, "$n missed");
        is_deeply([ map { $_->{data} } @all ],
                  [ map { "m$_" } 601 - $n .. 600 ], "$n: which they are");
        is_deeply([ map { $_->{offset} } @all ],
                  [ map { $r[-1]{offset} - $n + $_ } 1 .. $n ],
                  "$n: and their offsets");

        # over a WebSocket they are in the reply, else behind it

        is($ok->{offset}, $r[-1]{offset}
                          - ($transport eq 'websocket' ? 0 : $n),
           "$n: the place to go on from");
        $bob->cut;
    }

    my $both = since($channel, undef, joins => [
        { channel => $channel, history => 50, since => place($r[-1], -2) }
    ]);
    is($both->entries(2), 'm599 m600', 'since beats history');
    publish($channel, 'live');
    is($both->entries(1), 'live', 'and then it is live');
    ok(!$both->next_entry(0.2), 'nothing twice');
};


# Never silence: when it can't be told exactly, it is said

sub unrecovered {
    my ($name, $channel, $since, $data) = @_;

    my $client = since($channel, $since);
    my $join   = $client->joined($channel);

    ok(defined $join->{recovered} && !$join->{recovered},
       "$name: recovered is false");

    if ($data) {
        publish($channel, $data);
        is($client->next_entry->{data}, $data, "$name: and then it is live");
    }

    $client->cut;

    return $join;
}


subtest "$transport: recovered: false" => sub {
    my $few = "few-$transport";

    my ($first) = publish($few, map { "m$_" } 1 .. 20);
    unrecovered('too old', $few, place($first), 'few goes on');

    my ($last) = (publish("${few}2", map { "m$_" } 1 .. 20))[-1];
    my $edge = since("${few}2", place($last, -5));
    ok($edge->joined("${few}2")->{recovered}, 'the oldest that is kept is');
    is($edge->entries(5), 'm16 m17 m18 m19 m20', 'and is recovered');
    unrecovered('one more', "${few}2", place($last, -6));

    unrecovered('another epoch', $few, { epoch => 'nonsense', offset => 1 });

    my $purged = "purged-$transport";
    my ($p) = publish($purged, 'a', 'b');
    is($nginx->http->delete("/fanout/channels/$purged")->{status}, 200,
       'a purge');
    my $join = unrecovered('purged', $purged, place($p), 'anew');
    isnt($join->{epoch}, $p->{epoch}, 'purged: another epoch');

    ($p) = publish("ahead-$transport", 'a');
    unrecovered('an offset that is not yet there', "ahead-$transport",
                place($p, 10), 'b');

    unrecovered('a channel that never was', "never-$transport",
                { epoch => $p->{epoch}, offset => 1 }, 'c');

    my $short = "short-$transport";
    ($p) = publish($short, 'a', 'b', 'c');
    ok(wait_for(sub {
        !@{ $nginx->http->get("/fanout/channels/$short/messages")
                  ->json->{messages} }
    }, 20), 'a ttl runs out');
    unrecovered('expired', $short, place($p), 'd');
};


# The same by the place that a client has come to itself

subtest "$transport: recovered: false, coming back" => sub {
    my ($few, $purged) = ("few-back-$transport", "purged-back-$transport");
    my $ann = connect_as('ann', channels => [ $few, $purged ]);

    publish($_, 'a') for $few, $purged;
    $ann->entries(2);
    $ann->cut;
    publish($few, 'b' .. 'h');
    $nginx->http->delete("/fanout/channels/$purged");
    $ann->come_back;

    ok(!$ann->joined($_)->{recovered}, "$_: recovered is false")
        for $few, $purged;
    publish($_, 'live') for $few, $purged;
    is($ann->entries(2), 'live live', 'and then it is live');
};


subtest "$transport: channels without history" => sub {
    my $none = "none-$transport";
    my $ann  = connect_as('ann', channels => [ $none ]);
    my $join = $ann->joined($none);

    my $same = since($none, place($join));
    ok($same->joined($none)->{recovered}, 'nothing missed: recovered');
    is($same->joined($none)->{missed}, 0, 'none');
    is_deeply($same->joined($none)->{messages}, [], 'none');

    publish($none, 'x');

    if ($transport eq 'poll') {
        # nobody is there between two polls
        $ann->next_entry(0);
        ok(!$ann->joined($none)->{recovered}, 'that one is missed is told');

    } else {
        is($ann->entries(1), 'x', 'they are delivered');
    }

    unrecovered('one missed', $none, place($join));

    my $now = connect_as('ann', channels => [ $none ])->joined($none);
    ok(since($none, place($now))->joined($none)->{recovered},
       'none missed again: recovered');
};


subtest "$transport: evicted for want of room" => sub {
    my $http = $nginx->http;
    my $body = '"' . 'x' x 4000 . '"';

    my $room  = "room-$transport";
    my $path  = "/api-tiny/channels/$room/messages";
    my $first = $http->post($path, $body)->json;
    my $last;

    for (1 .. 800) {
        my $r = $http->post($path, $body);
        $last = $r->json;
        is($r->{status}, 201, 'a publish') if $r->{status} != 201;
    }

    my $join = since($room, place($first), path => '/tiny')->joined($room);

    ok(defined $join->{recovered} && !$join->{recovered}, 'not recovered');

    $join = since($room, place($last, -2), path => '/tiny')->joined($room);
    ok($join->{recovered} && $join->{missed} == 2, 'what is left is');
};

}

done_testing();
