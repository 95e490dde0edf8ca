#!/usr/bin/env perl

# Direct messages: if this fails, what was meant for one is seen by others, is
# lost though the sender was told that it arrived, or is said to have arrived
# where nobody is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 16m;
        fanout_zone small 4m mail=1%-2%;
        fanout_budget off;
        fanout_rate   off;
        fanout_channel app gone*  linger=1s;
        fanout_channel app none*  history=0 linger=1m;
        fanout_channel app short*;
        fanout_channel app *      history=1000 ttl=1h linger=1m;
        fanout_channel small *    linger=2m;
END
    server => <<'END',
        location /rt   { fanout app; fanout_user $arg_user; fanout_permit all *;
                         fanout_resume 1m; fanout_buffer 64k;
                         fanout_message_size 256k; fanout_ping 60s;
                         fanout_budget off; }
        location /ro   { fanout app; fanout_permit join *; }
        location /blind { fanout app; fanout_permit join,publish,signal *; }
        location /say   { fanout app; fanout_permit publish *; }
        location /past  { fanout app; fanout_permit publish,history *; }
        location /raw  { fanout app; fanout_dialect raw; fanout_permit all *;
                         fanout_user $arg_user; }
        location /fanout { fanout_api app; }
        location /small { fanout small; fanout_user $arg_user; fanout_permit all *;
                          fanout_resume 2m; fanout_ping 60s; }
        location /small-api { fanout_api small; }
        location = /small-status { fanout_status small; }
        location = /status { fanout_status app; }
END
);

my @pids = $nginx->worker_pids;
my $http = $nginx->http;


sub counter { $http->get('/status')->json->{counters}{ $_[0] } }


sub joined {
    my ($channel, $user, %o) = @_;

    my $client = $nginx->native(path => "/rt?user=$user", %o);
    $client->ok(join => channel => $channel);

    return $client;
}


# Whether nothing came: what it sends itself comes after all that is before it

sub silent {
    my ($client, $channel, $name) = @_;

    $client->ok(publish => channel => $channel, data => 'end', store => \0);

    my @got;

    while (my $push = $client->next_push(5)) {
        last if ($push->{data} || '') eq 'end'
                && $push->{from}{client} eq $client->client;
        push @got, $push if ($push->{data} || '') ne 'end';
    }

    is_deeply(\@got, [], $name);
}


sub leave_all { $_->cut for @_ }


for my $where ([ 0, 0 ], [ 0, 1 ], [ 1, 0 ]) {
    my $channel = "room:@$where[0]$where->[1]";

    subtest "to a client, workers @$where" => sub {
        my $ann   = joined($channel, 'ann', worker => $pids[ $where->[0] ]);
        my $bob   = joined($channel, 'bob', worker => $pids[ $where->[1] ]);
        my @other = map { joined($channel, 'eve', worker => $_) } @pids;

        my $r = $ann->ok(publish => channel => $channel,
                         to => { client => $bob->client },
                         event => 'note', data => { n => 1 }, key => 'k1');

        is($r->{delivered}, 1, 'one has it');
        is($r->{pending}, 0, 'nobody is waited for');

        my $m = $bob->next_push(5);
        is_deeply($m->{data}, { n => 1 }, 'the data');
        is($m->{event}, 'note', 'the event');
        is($m->{offset}, $r->{offset}, 'its place in the order');
        is_deeply($m->{from}, { client => $ann->client, user => 'ann' },
                  'from');
        is_deeply($m->{to}, { client => $bob->client },
                  'it says that it is for this client');

        my $again = $ann->ok(publish => channel => $channel,
                             to => { client => $bob->client },
                             event => 'note', data => { n => 1 },
                             key => 'k1');
        ok($again->{duplicate}, 'the key is known');
        is($again->{delivered}, 1, 'with the same answer');
        is($again->{offset}, $r->{offset}, 'and place');

        silent($_, $channel, 'others see nothing') for @other;
        silent($ann, $channel, 'nor does the sender');

        $r = $ann->ok(history => channel => $channel);
        is_deeply($r->{messages}, [], 'it is not in the history');
        $r = $http->get("/fanout/channels/$channel/messages")->json;
        is_deeply($r->{messages}, [], 'nor in that of the API');

        leave_all($ann, $bob, @other);
    };
}


subtest 'to a user with two clients' => sub {
    my $ann  = joined('users', 'ann', worker => $pids[0]);
    my @bob  = map { joined('users', 'bob', worker => $_) } @pids;
    my $away = $nginx->native(path => '/rt?user=bob');
    my $else = joined('others', 'bob');
    my $raw  = $nginx->ws(path => '/raw?channel=users&user=bob');

    my $r = $ann->ok(publish => channel => 'users', data => 'hi',
                     to => { user => 'bob' });
    is($r->{delivered}, 2, 'those who have joined');

    for (@bob) {
        my $m = $_->next_push(5);
        is($m->{data}, 'hi', 'each of them has it');
        is_deeply($m->{to}, { user => 'bob' }, 'for the user');
    }

    $r = $bob[0]->ok(publish => channel => 'users', data => 'self',
                     to => { user => 'bob' }, echo => \0);
    is($r->{delivered}, 1, 'not to oneself without echo');
    is($bob[1]->next_push(5)->{data}, 'self', 'but to the other');

    $r = $bob[0]->ok(publish => channel => 'users', data => 'both',
                     to => { user => 'bob' });
    is($r->{delivered}, 2, 'with echo to oneself as well');
    is($_->next_push(5)->{data}, 'both', 'there') for @bob;

    silent($ann, 'users', 'the sender sees nothing');
    is_deeply([ $away->drain ], [], 'nor who has not joined');
    is_deeply([ $else->drain ], [], 'or another channel');

    $ann->ok(publish => channel => 'users', data => 'to all');
    is($raw->recv_text, '"end"', 'a raw client sees public ones only');

    leave_all($ann, @bob, $away, $else, $raw);
};


subtest 'nobody there' => sub {
    my $ann = joined('short:1', 'ann', worker => $pids[0]);
    my $bob = joined('short:1', 'bob', worker => $pids[1]);

    my %to_bob = (channel => 'short:1', data => 1,
                  to => { client => $bob->client });
    my $before = $ann->ok('publish', channel => 'short:1', data => 0)
                     ->{offset};

    $bob->close;
    ok(wait_for(sub {
        ($ann->cmd('publish', %to_bob)->{error}{code} || '')
            eq 'recipient_offline'
    }), 'one that left a moment before');

    for my $to ({ client => 'c_0123456789abcdef' }, { client => 'somebody' },
                { user => 'nobody' }, { user => 'bob' })
    {
        my $r = $ann->cmd('publish', channel => 'short:1', data => 1,
                          to => $to);
        is($r->{error}{code}, 'recipient_offline', 'no such recipient');
    }

    my $cut = joined('short:1', 'bob', worker => $pids[1]);
    $cut->cut;
    ok(wait_for(sub {
        ($ann->cmd(publish => channel => 'short:1', data => 1,
                   to => { client => $cut->client })->{error}{code} || '')
            eq 'recipient_offline'
    }), 'one that was cut where nobody lingers');

    cmp_ok(counter('direct_offline'), '>=', 6, 'counted');

    $ann->cut;
};


subtest 'who lingers' => sub {
    my $ann = joined('room:2', 'ann', worker => $pids[0]);
    my $bob = joined('room:2', 'bob', worker => $pids[1]);
    my $eve = joined('room:2', 'eve');

    my $at = $ann->ok(publish => channel => 'room:2', data => 'before');
    $bob->next_where(sub { $_[0]{offset} == $at->{offset} }, 5);
    $bob->cut;

    my $r;
    ok(wait_for(sub {
        $r = $ann->ok(publish => channel => 'room:2', data => 'secret 1',
                      to => { client => $bob->client });
        $r->{pending};
    }), 'it is pending');
    is($r->{delivered}, 0, 'and not delivered');

    is($ann->cmd(publish => channel => 'room:2', data => 1, live => \1,
                 to => { client => $bob->client })->{error}{code},
       'recipient_offline', 'unless only live ones count');

    $ann->ok(publish => channel => 'room:2', data => 'public');
    $r = $ann->ok(publish => channel => 'room:2', data => 'secret 2',
                  to => { user => 'bob' });
    is($r->{pending}, 1, 'by the user, too');

    # on the other worker
    my $back = $nginx->native(path => '/rt?user=bob', worker => $pids[0],
                              resume => $bob->resume);
    ok($back->welcome->{resumed}, 'it is back');
    my $join = $back->ok(join => channel => 'room:2',
                         since => { epoch => $at->{epoch},
                                    offset => $at->{offset} });
    ok($join->{recovered}, 'it has what it missed');

    my @data = map { $_->{data} } @{ $join->{messages} };
    shift @data while @data > 3 && $data[1] eq 'secret 1';
    is_deeply(\@data, [ 'secret 1', 'public', 'secret 2' ], 'in order');
    is($join->{missed}, scalar @{ $join->{messages} }, 'as many as it says');

    my $n = grep { !$_->{to} } @{ $join->{messages} };
    is($n, 1, 'with the mark of direct ones');

    # not again
    my $again = $back->ok(join => channel => 'room:2',
                          since => { epoch => $join->{epoch},
                                     offset => $join->{offset} });
    is_deeply($again->{messages}, [], 'once');

    $r = $eve->ok(join => channel => 'room:2',
                  since => { epoch => $at->{epoch},
                             offset => $at->{offset} });
    is_deeply([ map { $_->{data} } @{ $r->{messages} } ], ['public'],
              'others do not get it by joining');

    leave_all($ann, $back, $eve);
};


subtest 'nothing is kept but mail' => sub {
    my $ann = joined('none:1', 'ann');
    my $bob = joined('none:1', 'bob');

    my $place = $bob->ok(join => channel => 'none:1');
    $bob->cut;

    ok(wait_for(sub {
        $ann->ok(publish => channel => 'none:1', data => 1,
                 to => { client => $bob->client })->{pending}
    }), 'pending without a history');

    my $back = $nginx->native(path => '/rt?user=bob', resume => $bob->resume);
    my $join = $back->ok(join => channel => 'none:1', since => {
                             epoch => $place->{epoch},
                             offset => $place->{offset} });
    ok($join->{recovered}, 'recovered');
    ok(scalar @{ $join->{messages} }, 'it comes');
    leave_all($ann, $back);
};


subtest 'a full mailbox' => sub {
    my $ann = joined('room:3', 'ann');
    my $bob = joined('room:3', 'bob');
    my $at  = $bob->ok(join => channel => 'room:3');

    $bob->cut;

    my %to = (channel => 'room:3', to => { client => $bob->client });
    wait_for(sub { $ann->ok(publish => %to, data => 0)->{pending} });

    my ($r, $n);

    for (1 .. 70) {
        $r = $ann->cmd(publish => %to, data => $_);
        last if $r->{error};
        $n++;
    }

    is($r->{error}{code}, 'too_many', 'in the end it is refused');
    is($r->{error}{data}{limit}, 'mail', 'and said why');

    # another sender has its share of it

    my $eve = joined('room:3', 'eve');

    $r = $eve->ok(publish => %to, data => 'from eve');
    is_deeply([ @$r{qw( delivered pending )} ], [ 0, 1 ],
              'another sender displaces a message of the first');
    is($ann->cmd(publish => %to, data => 'more')->{error}{code}, 'too_many',
       'which has still more than its share');

    my $two = joined('room:3', 'bob');
    $r = $ann->ok(publish => channel => 'room:3', data => 'x',
                  to => { user => 'bob' });
    is_deeply([ @$r{qw( delivered pending )} ], [ 1, 0 ],
              'another client of the user has it');

    my $back = $nginx->native(path => '/rt?user=bob', resume => $bob->resume);
    my $join = $back->ok(join => channel => 'room:3', since => {
                             epoch => $at->{epoch}, offset => $at->{offset} });
    ok(!$join->{recovered}, 'who comes back is told that some is lost');
    is_deeply([ map { $_->{data} } @{ $join->{messages} }[-2, -1] ], [ $n, 'from eve' ],
              'and has what was accepted');

    leave_all($ann, $back, $two, $eve);
};


# How much a client sends to clients of its own does not matter to the mail of
# others.

subtest 'one sender has most of the mail' => sub {
    my $status = sub { $http->get('/small-status')->json->{zone} };
    my $enter  = sub {
        my ($user) = @_;
        my $c  = $nginx->native(path => "/small?user=$user");
        my $at = $c->ok(join => channel => 'room:m');

        return ($c, { epoch => $at->{epoch}, offset => $at->{offset} });
    };
    my ($ann) = $enter->('ann');
    my ($bob, $since) = $enter->('bob');
    my %to = (channel => 'room:m', to => { client => $bob->client });

    $bob->cut;
    wait_for(sub { $ann->ok(publish => %to, data => 'cut?')->{pending} });
    $ann->ok(publish => %to, data => 'from ann');

    is($http->post('/small-api/channels/room:m/messages?to_client=' . $bob->client,
                   '"from the backend"',
                   headers => { 'Content-Type' => 'application/json' })->{status},
       201, 'the backend sends, too');

    # without a user they count for their address

    for my $user ('mallory', '') {
        my ($mallory) = $enter->($user);
        my @own = map { ($enter->($user))[0] } 1 .. 16;
        my $before = $status->()->{mail_dropped};

        for my $own (@own) {
            $own->cut;
            wait_for(sub {
                $mallory->ok(publish => channel => 'room:m', data => 1,
                             to => { client => $own->client })->{pending}
            });

            $mallory->ok(publish => channel => 'room:m', data => 'm' x 300,
                         to => { client => $own->client })
                for 1 .. 50;
        }

        cmp_ok($status->()->{mail_dropped}, '>', $before + 100,
               'mail was dropped' . ($user ? '' : ' of those without a user'));
        leave_all($mallory);
    }

    my $back = $nginx->native(path => '/small?user=bob', resume => $bob->resume);
    my $join = $back->ok(join => channel => 'room:m', since => $since);

    ok($join->{recovered}, 'and none of who comes back');
    is_deeply([ sort { $a cmp $b } grep { $_ ne 'cut?' }
                map { $_->{data} } grep { $_->{to} } @{ $join->{messages} } ],
              [ 'from ann', 'from the backend' ], 'who has what was sent');

    leave_all($ann, $back);
};


subtest 'a recipient that does not read' => sub {
    my $ann = joined('room:4', 'ann');
    my $bob = $nginx->native(path => '/rt?user=bob', rcvbuf => 4096);
    $bob->ok(join => channel => 'room:4');

    my $big = 'x' x 30000;
    my @sent;

    for my $i (1 .. 60) {
        push @sent, $ann->ok(publish => channel => 'room:4',
                             data => "$i $big",
                             $i % 2 ? (to => { client => $bob->client })
                                    : ())->{offset};
    }

    ok(wait_for(sub { counter('lags') }), 'it lags');

    my @got;

    while (my $m = $bob->next_where(sub { $_[0]{offset} }, 5)) {
        push @got, $m->{offset};
        last if $m->{offset} == $sent[-1];
    }

    is_deeply(\@got, \@sent, 'and gets all in order when it reads');
    is_deeply([ grep { $_->{gap} } $bob->drain ], [], 'without a gap');

    leave_all($ann, $bob);
};


subtest 'a large one' => sub {
    my $ann = joined('room:5', 'ann', worker => $pids[0]);
    my $bob = joined('room:5', 'bob', worker => $pids[1]);
    my $at  = $bob->ok(join => channel => 'room:5');

    my $big = 'y' x 200_000;
    $ann->ok(publish => channel => 'room:5', data => $big,
             to => { client => $bob->client });
    ok($bob->next_push(10)->{data} eq $big, 'as it is');

    $bob->cut;
    ok(wait_for(sub {
        $ann->ok(publish => channel => 'room:5', data => $big,
                 to => { client => $bob->client })->{pending}
    }, 20), 'pending');

    my $back = $nginx->native(path => '/rt?user=bob', resume => $bob->resume);
    my $r = $back->cmd(join => channel => 'room:5', since => {
                           epoch => $at->{epoch}, offset => $at->{offset} });
    my @m = (map({ @{ $_->{messages} } } @{ $r->{part} || [] }),
             @{ $r->{ok}{messages} });

    cmp_ok(scalar @m, '>=', 2, 'both are there');
    ok(!(grep { $_->{data} ne $big } @m), 'as they are');

    leave_all($ann, $back);
};


subtest 'what is told only to who may see it' => sub {
    my $bob   = joined('seen', 'bob');
    my $blind = $nginx->native(path => '/blind');
    my $say   = $nginx->native(path => '/say');
    my $past  = $nginx->native(path => '/past');
    my $post  = sub {
        my ($path, %command) = @_;

        return $http->post($path, Fanout::JSON::encode({ id => 1, %command }),
            headers => { 'Content-Type' => 'application/json' })->json;
    };

    # by neither can a stranger tell whether somebody is there

    my @to = ({ user => 'bob' }, { user => 'nobody' },
              { client => $bob->client }, { client => 'c_0000000000000001' },
              { client => 'none' });

    for my $to (@to) {
        my %say = (channel => 'seen', data => 1, to => $to);

        for my $r ($blind->cmd('publish', %say),
                   $blind->cmd('signal', %say, event => 'x'),
                   $post->('/blind', op => 'publish', %say),
                   $post->('/blind', op => 'signal', %say, event => 'x'))
        {
            is($r->{error}{code}, 'forbidden', 'to needs a permission');
            like($r->{error}{message}, qr/fanout_permit presence/, 'which');
        }
    }

    is($blind->cmd('publish', channel => 'seen', data => 'all')->{ok}{offset},
       1, 'to all it may');
    is($bob->next_push->{data}, 'all', 'nothing else has come');

    # nor how far a channel is

    my $at = $http->get('/fanout/channels/seen')->json;

    for my $if (0, 1, 2) {
        my %say = (op => 'publish', channel => 'seen', data => 1,
                   if => { epoch => $at->{epoch}, offset => $if });

        my $r = $say->cmd('publish', %say);
        is($r->{error}{code}, 'forbidden', 'if needs a permission');
        like($r->{error}{message}, qr/fanout_permit join/, 'which');
        is($post->('/say', %say)->{error}{code}, 'forbidden', 'by POST, too');
    }

    for ($past, $blind) {
        my $r = $_->cmd('publish', channel => 'seen', data => 1,
                        if => { epoch => $at->{epoch}, offset => 99 });
        is($r->{error}{code}, 'conflict', 'one that may see it is told');
    }
};


subtest 'bad input' => sub {
    my $ann = joined('room:6', 'ann');

    for my $to (5, 'bob', [], {}, { client => 5 }, { user => '' },
                { user => 'a', client => 'c_0123456789abcdef' },
                { user => [] }, { nobody => 1 }, { user => 'x' x 300 })
    {
        my $r = $ann->cmd(publish => channel => 'room:6', data => 1,
                          to => $to);
        is($r->{error}{code}, 'bad_request', 'to: '
           . Fanout::JSON::encode($to));
    }

    my %to = (to => { client => $ann->client });

    is($ann->cmd(publish => channel => 'room:6', %to,
                 messages => [ { data => 1 }, { data => 2 } ])
           ->{error}{code}, 'bad_request', 'several at once');
    is($ann->cmd(publish => channel => 'room:6', %to, data => 1,
                 live => 'yes')->{error}{code}, 'bad_request', 'live');
    is($ann->cmd(publish => channel => 'room:6', %to, data => 1,
                 if => { epoch => '0' x 16, offset => 99 })->{error}{code},
       'conflict', 'a condition that does not hold');

    my $ro = $nginx->native(path => '/ro');
    $ro->ok(join => channel => 'room:6');
    is($ro->cmd(publish => channel => 'room:6', %to, data => 1)
          ->{error}{code}, 'forbidden', 'without permission');

    my $only = $nginx->native(path => '/rt');
    $only->ok(join => channel => 'room:6', events => ['b'], echo => \0);
    $ann->ok(publish => channel => 'room:6', event => $_, data => $_,
             to => { client => $only->client }) for qw( a b );
    is($only->next_push(5)->{data}, 'b', 'events are chosen as for others');

    leave_all($ann, $ro, $only);
};


# last: a worker is killed with what was delivered to it

subtest 'the worker of a recipient is killed' => sub {
    my $ann = joined('room:7', 'ann', worker => $pids[0]);
    my $bob = joined('room:7', 'bob', worker => $pids[1]);
    my $at  = $bob->ok(join => channel => 'room:7');

    $nginx->signal($pids[1], 'STOP');
    my $r = $ann->ok(publish => channel => 'room:7', data => 'survives',
                     to => { client => $bob->client });
    is($r->{delivered}, 1, 'delivered, as far as one can know');
    $nginx->kill_worker($pids[1], 'KILL');

    my $back;
    ok(wait_for(sub {
        $back = $nginx->native(path => '/rt?user=bob', worker => $pids[0],
                               resume => $bob->resume);
        $back->welcome->{resumed};
    }), 'it is back');

    my $join = $back->ok(join => channel => 'room:7', since => {
                             epoch => $at->{epoch}, offset => $at->{offset} });
    is_deeply([ map { $_->{data} } @{ $join->{messages} } ], ['survives'],
              'and has it');
    ok($join->{recovered}, 'with all it missed');
    $nginx->allow(qr/signal 9/);
};


done_testing();
