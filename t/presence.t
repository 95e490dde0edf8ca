#!/usr/bin/env perl

# Presence: who is on a channel, as a list at an offset and the changes from
# there on. If this fails, somebody sees a ghost, or doesn't see somebody who
# is there, sees others flap while their network does, or is told why they
# left wrongly.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 32m;
        fanout_channel app room:*    presence=on linger=1s batch=20ms history=100;
        fanout_channel app slow:*    presence=on linger=1s batch=2s;
        fanout_channel app long:*    presence=on linger=30s batch=20ms history=100;
        fanout_channel app small:*   presence=on members=3 linger=0;
        fanout_channel app keys:*    presence=on linger=0 keys=40;
        fanout_channel app count:*   presence=summary linger=0 batch=0;
        fanout_channel app quiet:*   presence=on linger=0 idle=300ms expire=2s;
        fanout_channel app calm:*    presence=on linger=30s batch=20ms idle=300ms;
        fanout_channel app closed:*  presence=on publish=members;
        fanout_channel app nobody:*  history=10;
        fanout_channel app big:*     presence=on linger=1s batch=50ms;
        fanout_channel app lag:*     presence=on linger=0 batch=0 history=1000;
END
    server => <<'END',
        location /realtime {
            fanout app;
            fanout_user $arg_user;
            fanout_user_info name=$arg_name 'avatar=a"b' none=$arg_none;
            fanout_permit all *;
            fanout_channels_per_session 5000;
            fanout_budget off;
        }
        location /watch {
            fanout app;
            fanout_permit join,publish *;
        }
        location /small {
            fanout app;
            fanout_permit all *;
            fanout_presence_size 64;
            fanout_buffer 8k;
        }
        location /auto {
            fanout app;
            fanout_user $arg_user;
            fanout_permit join,presence room:* user:$fanout_user;
            fanout_autojoin user:$fanout_user room:auto forbidden;
        }
        location /few {
            fanout app;
            fanout_user $arg_user;
            fanout_permit all *;
            fanout_sessions_per_user 2;
        }
        location /raw { fanout app; fanout_dialect raw; fanout_permit all *; }
        location /api/ { fanout_api app; }
        location = /status { fanout_status app; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $http = $nginx->http;
my $users = 0;

sub client {
    my ($worker, %o) = @_;

    my $user = delete $o{user} // 'u' . ++$users;
    my $more = delete $o{more} // '';

    return $nginx->native(
        $worker ? (worker => $worker) : (),
        path => "/realtime?user=$user$more", %o);
}

sub code { $_[0]{error} ? $_[0]{error}{code} : 'no error' }

sub ids { [ sort map { $_->{client} } @{ $_[0] || [] } ] }

# the next change that a client is told

sub change {
    my ($ws, $kind, $timeout) = @_;

    my $push = $ws->next_where(sub { $_[0]{presence} }, $timeout) or return;

    return $kind ? $push->{presence}{$kind} : $push->{presence};
}

# all that a client knows, kept by the snapshot and the changes

sub apply {
    my ($list, $p) = @_;

    for (@{ $p->{left} || [] }) {
        my $id = join '/', $_->{client}, $_->{key} // '';
        die "left, but was not there: $id\n" if !delete $list->{$id};
    }

    for my $kind (qw( joined updated )) {
        for (@{ $p->{$kind} || [] }) {
            my $id = join '/', $_->{client}, $_->{key} // '';
            die "$kind, but was there: $id\n"
                if $kind eq 'joined' && $list->{$id};
            die "$kind, but was not there: $id\n"
                if $kind eq 'updated' && !$list->{$id};
            $list->{$id} = $_;
        }
    }
}

sub silent {
    my ($ws, $what) = @_;

    # what was on its way comes before the answer
    $ws->ok('ping');
    my @pushes = grep { $_->{presence} } $ws->drain;
    is_deeply(\@pushes, [], $what);
}


subtest 'a list and its changes' => sub {
    my $ann = client($one, user => 'ann', more => '&name=Ann%22');
    my $bob = client($two, user => 'bob');

    my $ok = $ann->ok('join', channel => 'room:1', presence => { x => 1 });

    is_deeply([ sort keys %$ok ],
              [qw( channel epoch members messages offset )], 'the reply');
    is(scalar @{ $ok->{members} }, 1, 'one member');

    my $m = $ok->{members}[0];
    is_deeply([ sort keys %$m ],
              [qw( client data info joined_at seen slot state user )],
              'what is told of one');
    is($m->{client}, $ann->client, 'itself');
    is($m->{user}, 'ann', 'user');
    is_deeply($m->{info}, { name => 'Ann%22', avatar => 'a"b' }, 'info');
    is_deeply($m->{data}, { x => 1 }, 'data');
    is($m->{state}, 'active', 'state');
    is($m->{slot}, 0, 'the first slot');
    cmp_ok($ok->{offset}, '>=', 1, 'its own joined is before the reply');

    my $state = $bob->ok('join', channel => 'room:1', presence => {});
    is_deeply(ids($state->{members}), ids([ map { { client => $_->client } }
              $ann, $bob ]), 'the second sees both');
    my ($mine) = grep { $_->{client} eq $bob->client } @{ $state->{members} };
    ok(!exists $mine->{data}, 'without data');
    is($mine->{slot}, 1, 'the next slot');

    my $push = $ann->next_where(sub { $_[0]{presence} });
    is_deeply(ids($push->{presence}{joined}), [ $bob->client ],
              'the first is told of the second');
    is_deeply([ sort keys %$push ], [qw( channel offset presence time )],
              'members of a change');
    is($push->{offset}, $state->{offset}, 'at the offset of the reply');

    silent($_, 'nobody is told of itself') for $ann, $bob;

    $bob->ok('presence', channel => 'room:1', data => { y => 2 });
    for my $ws ($ann, $bob) {
        my $u = change($ws, 'updated');
        is_deeply([ map { $_->{data} } @$u ], [ { y => 2 } ], 'an update');
    }

    my $watch = client($two);
    $state = $watch->ok('join', channel => 'room:1');
    is(@{ $state->{members} }, 2, 'who watches is told and is no member');
    silent($_, 'which nobody is told') for $ann, $bob;

    $bob->ok('leave', channel => 'room:1');
    for my $ws ($ann, $watch) {
        my $left = change($ws, 'left');
        is_deeply($left, [ { client => $bob->client, user => 'bob',
                             data => { y => 2 }, reason => 'intentional' } ],
                  'left');
    }

    silent($bob, 'not to who left');
};


subtest 'reasons' => sub {
    my $watch = client($one);
    $watch->ok('join', channel => 'room:why');

    my $why = sub {
        my ($end, $reason, $text) = @_;

        for my $worker ($one, $two) {
            my $ws = client($worker);
            $ws->ok('join', channel => 'room:why', presence => { last => 1 });
            is_deeply(ids(change($watch, 'joined')), [ $ws->client ], 'joined');
            $end->($ws);
            my $left = change($watch, 'left');
            is($left && $left->[0]{reason}, $reason, $text);
            is_deeply($left && $left->[0]{data}, { last => 1 }, 'last data');
        }
    };

    $why->(sub { $_[0]->ok('leave', channel => 'room:why') }, 'intentional',
           'leave');
    $why->(sub { $_[0]->close(1000) }, 'intentional', 'close 1000');
    $why->(sub { $_[0]->cut }, 'network', 'cut');
    $why->(sub { $_[0]->close(1001) }, 'intentional', 'close 1001');

    my $again = client($two);
    $again->close(1001);
    $again = client($one, user => "u$users", resume => $again->resume);
    ok($again->welcome->{resumed}, 'comes back');
    $again->ok('join', channel => 'room:why', presence => {});
    change($watch, 'joined');
    $again->cut;
    is(change($watch, 'left')->[0]{reason}, 'network', 'and is cut then');
};


for ([ 'a cut', 1, sub { $_[0]->cut } ],
     [ 'a page that is loaded again', 2, sub { $_[0]->close(1001) } ])
{
    my ($name, $n, $end) = @$_;

    subtest "linger and coming back: $name" => sub {
        my $watch = client($one);
        $watch->ok('join', channel => "long:$n");

        my $ws = client($one);
        my $ok = $ws->ok('join', channel => "long:$n", presence => { n => 1 });
        change($watch, 'joined');

        $end->($ws);

        my $back = client($two, user => 'u' . $users, resume => $ws->resume);
        ok($back->welcome->{resumed}, 'resumed at another worker');
        $http->post("/api/channels/long%3A$n/messages", '"missed"');

        my $again = $back->ok('join', channel => "long:$n", presence => { n => 1 },
                              since => { epoch => $ok->{epoch},
                                         offset => $ok->{offset} });
        ok($again->{recovered}, 'recovered');
        is_deeply(ids($again->{members}), [ $back->client ], 'still a member');
        is(@{ $again->{messages} }, 1, 'what was missed');

        silent($watch, 'and nobody saw a thing');

        $back->ok('presence', channel => "long:$n", state => 'idle');
        is(change($watch, 'updated')->[0]{state}, 'idle', 'it can go on');
    };
}


subtest 'a killed worker' => sub {
    my $watch = client($one);
    my $stays = client($two);
    my $goes  = client($two);

    $watch->ok('join', channel => 'room:k');
    my %id;

    for ($stays, $goes) {
        $_->ok('join', channel => 'room:k', presence => {});
        is_deeply(ids(change($watch, 'joined')), [ $_->client ], 'joined');
    }

    $nginx->kill_worker($two);
    ($one, $two) = ($one, grep { $_ != $one } $nginx->worker_pids);

    my $user = $users - 1;
    my $back = client($two, user => "u$user", resume => $stays->resume);
    ok($back->welcome->{resumed}, 'one comes back');
    $back->ok('join', channel => 'room:k', presence => {});

    my $left = change($watch, 'left', 10);
    is_deeply(ids($left), [ $goes->client ], 'the other leaves');
    is($left->[0]{reason}, 'network', 'for the network');
    silent($watch, 'that is all');

    is_deeply(ids($watch->ok('members', channel => 'room:k')->{members}),
              [ $back->client ], 'the list');
};


subtest 'merge' => sub {
    my $ws = client($one);
    my $at = 'room:merge';

    $ws->ok('join', channel => $at, presence => { a => 1, b => 2 });

    my $data = sub {
        $ws->ok('presence', channel => $at, merge => Fanout::JSON::true,
                data => $_[0]);
        return change($ws, 'updated')->[0]{data};
    };

    is_deeply($data->({ b => 3 }), { a => 1, b => 3 }, 'one is changed');
    is_deeply($data->({ c => [ 1 ] }), { a => 1, b => 3, c => [ 1 ] },
              'one is added');
    is_deeply($data->({ a => undef }), { b => 3, c => [ 1 ] },
              'one is removed');

    $ws->send_text('{"op":"presence","channel":"room:merge","merge":true,'
                   . '"data":{"\u0062":4}}');
    is_deeply(change($ws, 'updated')->[0]{data}, { b => 4, c => [ 1 ] },
              'however it is spelled');

    $ws->ok('presence', channel => $at, data => { b => undef, c => 1 });
    change($ws, 'updated');
    is_deeply($data->({ c => 2, d => 1 }), { b => undef, c => 2, d => 1 },
              'a null that was there stays');

    $ws->send_text('{"op":"presence","channel":"room:merge","merge":true,'
                   . '"data":{"e":1,"d":null,"\u0065":{"f":null},"c":null,'
                   . '"c":3}}');
    is_deeply(change($ws, 'updated')->[0]{data},
              { b => undef, c => 3, e => { f => undef } },
              'the last of a name counts');

    $ws->send_text('{"op":"presence","channel":"room:merge",'
                   . '"data":{"b":1,"c":1,"b":2}}');
    change($ws, 'updated');
    $ws->send_text('{"op":"presence","channel":"room:merge",'
                   . '"merge":true,"data":{"c":null}}');
    is_deeply(change($ws, 'updated')->[0]{data}, { b => 2 },
              'also in what was there');

    is_deeply($data->({ b => undef, c => undef }), undef, 'nothing is left');

    is(code($ws->cmd('presence', channel => $at, merge => Fanout::JSON::true,
                     data => 1)), 'bad_request', 'only objects merge');

    $ws->ok('presence', channel => $at, data => 'text');
    is(change($ws, 'updated')->[0]{data}, 'text', 'any JSON is data');
    is_deeply($data->({ d => 1 }), { d => 1 }, 'an object replaces it');

    $ws->ok('presence', channel => $at, data => { d => 1 });
    silent($ws, 'the same data is no change');
};


subtest 'several members of a client' => sub {
    my ($ann, $bob) = (client($one), client($two));
    my $at = 'room:keys';

    $bob->ok('join', channel => $at);
    $ann->ok('join', channel => $at, presence => { n => 0 });
    change($bob, 'joined');

    $ann->ok('presence', channel => $at, key => 'tab"2', data => { n => 1 });
    my $joined = change($bob, 'joined');
    is($joined->[0]{key}, 'tab"2', 'a second one');
    is($joined->[0]{slot}, 1, 'in a slot of its own');

    $ann->ok('presence', channel => $at, data => undef);
    my $left = change($bob, 'left');
    ok(!exists $left->[0]{key}, 'the first is withdrawn');
    is($left->[0]{reason}, 'intentional', 'on purpose');

    is(code($ann->cmd('presence', channel => $at, state => 'idle')),
       'not_found', 'it has no state any more');

    $ann->ok('presence', channel => $at, data => {});
    is(change($bob, 'joined')->[0]{slot}, 0, 'the slot is taken again');

    $ann->close(1000);
    my %left = map { $_->{key} // '' => 1 } map {
        @{ change($bob, 'left') || [] } } 1;
    is_deeply([ sort keys %left ], [ '', 'tab"2' ], 'both leave with it');
};


subtest 'keys=' => sub {
    my $at = 'keys:1';
    my $ann = client($one, user => 'k');
    my $bob = client($two);

    $ann->ok('join', channel => $at, presence => {}, key => 'k1');
    $ann->ok('presence', channel => $at, key => "k$_", data => {}) for 2 .. 40;

    my $full = sub {
        my ($r, $how) = @_;

        is(code($r), 'too_many', "one more, $how");
        is_deeply($r->{error}{data}, { limit => 'keys', max => 40 },
                  'says how many');
        like($r->{error}{message}, qr/fanout_channel keys=/, 'and by what');
    };

    $full->($ann->cmd('presence', channel => $at, key => 'k41', data => {}),
            'by a command');
    $full->($ann->cmd('join', channel => $at, presence => {}, key => 'k41'),
            'by a join');
    $full->($http->post('/realtime?user=k', Fanout::JSON::encode(
                { id => 1, op => 'presence', channel => $at, key => 'k41',
                  data => {} }),
                headers => { 'Content-Type'   => 'application/json',
                             'Fanout-Client' => $ann->client,
                             'Fanout-Resume' => $ann->welcome->{resume} })->json,
            'by a POST');

    $ann->ok('presence', channel => $at, key => 'k7', data => { n => 1 });
    ok(wait_for(sub {
        @{ $bob->ok('members', channel => $at)->{members} } == 40;
    }), 'so many there are');

    $ann->ok('presence', channel => $at, key => 'k7', data => undef);
    wait_for(sub {
        !$ann->cmd('presence', channel => $at, key => 'k41', data => {})
            ->{error};
    });
    is(code($ann->cmd('presence', channel => $at, key => 'k41', data => 1)),
       'no error', 'when one has gone another may come');

    my %limits = map { $_->{pattern} => $_->{limits} }
                     @{ $http->get('/status')->json->{classes} };
    is_deeply($limits{'keys:*'}, { members => undef, keys => 40,
                                    changes => 262144 },
              'the status has it');
    is_deeply($limits{'small:*'}, { members => 3, keys => 32,
                                     changes => 262144 },
              'and the default');
    is($limits{'nobody:*'}, undef, 'nothing where there are no members');
};


subtest 'channel_full' => sub {
    my @all = map { client($_ % 2 ? $one : $two) } 1 .. 4;

    $_->ok('join', channel => 'small:1', presence => {}) for @all[ 0 .. 2 ];

    my $r = $all[3]->cmd('join', channel => 'small:1', presence => {});
    is(code($r), 'channel_full', 'the fourth');
    like($r->{error}{message}, qr/members=/, 'names the policy');
    is(code($all[3]->cmd('leave', channel => 'small:1')), 'not_joined',
       'it is not joined either');
    ok($all[3]->ok('join', channel => 'small:1'), 'it may watch');
    is(code($all[3]->cmd('presence', channel => 'small:1', data => {})),
       'channel_full', 'nor enter later');

    $all[0]->ok('leave', channel => 'small:1');
    wait_for(sub {
        code($all[3]->cmd('presence', channel => 'small:1', data => {}))
            eq 'no error'
    }, 5);
    wait_for(sub {
        @{ $all[1]->ok('members', channel => 'small:1')->{members} } == 3
    }, 5);
    is(@{ $all[1]->ok('members', channel => 'small:1')->{members} }, 3,
       'until one has left');
};


subtest 'summary' => sub {
    my ($ann, $bob, $watch) = (client($one), client($two), client($one));

    is_deeply($watch->ok('join', channel => 'count:1')->{summary},
              { members => 0 }, 'nobody');

    my $ok = $ann->ok('join', channel => 'count:1', presence => { x => 1 });
    is_deeply($ok->{summary}, { members => 1 }, 'one');
    ok(!exists $ok->{members}, 'no list');
    is_deeply(change($watch), { summary => { members => 1 } }, 'told');

    $ok = $bob->ok('join', channel => 'count:1', presence => {});
    is_deeply($ok->{summary}, { members => 2 }, 'two');
    is_deeply(change($watch), { summary => { members => 2 } }, 'told');

    $ann->cut;
    is_deeply(change($watch), { summary => { members => 1 } }, 'one less');
    is_deeply($watch->ok('members', channel => 'count:1')->{summary},
              { members => 1 }, 'members');
    is_deeply($watch->ok('members', channel => 'count:none')->{summary},
              { members => 0 }, 'of a channel that is not there');
};


subtest 'permissions' => sub {
    my $ann = client($one);
    $ann->ok('join', channel => 'room:p', presence => {});

    my $blind = $nginx->native(path => '/watch', worker => $two);
    my $ok = $blind->ok('join', channel => 'room:p');
    ok(!exists $ok->{members}, 'without the permission: no members');

    for my $cmd ([ 'join', presence => {} ], [ 'join', want => ['presence'] ],
                 [ 'presence', data => {} ], [ 'members' ])
    {
        my ($op, @more) = @$cmd;
        my $r = $blind->cmd($op, channel => 'room:p', @more);
        is(code($r), 'forbidden', "$op");
        like($r->{error}{message}, qr/fanout_permit presence/, 'names it');
    }

    ok($blind->ok('join', channel => 'room:p', want => ['messages']),
       'it may say so');

    $ann->ok('presence', channel => 'room:p', data => { x => 1 });
    change($ann, 'updated');
    silent($blind, 'and no changes');

    my $r = $ann->cmd('join', channel => 'nobody:1', presence => {});
    is(code($r), 'forbidden', 'a channel without presence');
    like($r->{error}{message}, qr/presence=on/, 'says so');
    $ok = $ann->ok('join', channel => 'nobody:1');
    ok(!exists $ok->{members}, 'and lists nobody');
    is(code($ann->cmd('members', channel => 'nobody:1')), 'forbidden',
       'members neither');

    is(code($ann->cmd('presence', channel => 'room:not', data => {})),
       'not_joined', 'presence needs a join');

    $r = $ann->cmd('publish', channel => 'closed:1', data => 1);
    is(code($r), 'forbidden', 'publish=members');
    like($r->{error}{message}, qr/publish=members/, 'names it');
    $ann->ok('join', channel => 'closed:1');
    is(code($ann->cmd('publish', channel => 'closed:1', data => 1)),
       'forbidden', 'who watches neither');
    $ann->ok('presence', channel => 'closed:1', data => {});
    ok($ann->ok('publish', channel => 'closed:1', data => 1), 'a member may');
    $ann->ok('presence', channel => 'closed:1', data => undef);
    is(code($ann->cmd('publish', channel => 'closed:1', data => 1)),
       'forbidden', 'not when it is none any more');

};


subtest 'want' => sub {
    my ($ann, $bob) = (client($one), client($two));

    my $ok = $ann->ok('join', channel => 'room:want', want => ['messages']);
    ok(!exists $ok->{members}, 'no list');
    $ok = $bob->ok('join', channel => 'room:want', presence => {},
                   want => ['presence']);
    is(@{ $ok->{members} }, 1, 'a list');

    $http->post('/api/channels/room%3Awant/messages', '"x"');
    is($ann->next_push->{data}, 'x', 'messages alone');
    silent($ann, 'no changes');
    is_deeply([ $bob->drain ], [], 'presence alone');

    $ok = $ann->ok('join', channel => 'room:want');
    is(@{ $ok->{members} }, 1, 'joined again with more');
    $bob->close(1000);
    is_deeply(ids(change($ann, 'left')), [ $bob->client ], 'now it is told');
};


# one command of many members must not hold up a worker

subtest 'merge of many' => sub {
    my $ws = client($one);
    my %many = map { sprintf('%03d', $_) => 1 } 1 .. 400;

    $ws->ok('join', channel => 'room:many', presence => \%many);

    my $spent = sub {
        open my $f, '<', "/proc/$one/schedstat" or die "schedstat: $!\n";
        return (split ' ', <$f>)[0] / 1e9;
    };

    my $cpu = sub {
        my ($merge, $n) = @_;
        my $before = $spent->();

        for my $i (1 .. $n) {
            $many{'001'} = $i % 2;
            $ws->cmd('presence', channel => 'room:many', data => \%many,
                     merge => $merge);
        }

        return $spent->() - $before;
    };

    my $plain = $cpu->(Fanout::JSON::false, 200);
    my $merged = $cpu->(Fanout::JSON::true, 200);

    cmp_ok($merged, '<', 10 * $plain + 0.5,
           "CPU of 200 merges, as without merging ($plain s)");
};


subtest 'anonymous' => sub {
    my ($ann, $bob) = (client($one, more => '&name=Ann'), client($two));

    $bob->ok('join', channel => 'room:anon');
    $ann->ok('join', channel => 'room:anon', presence => { x => 1 },
             anonymous => Fanout::JSON::true);

    my $m = change($bob, 'joined')->[0];
    ok(!exists $m->{user} && !exists $m->{info}, 'neither user nor profile');
    is_deeply($m->{data}, { x => 1 }, 'but data');

    my $hidden = sub {
        my ($kind, $name, @more) = @_;
        $ann->ok('presence', channel => 'room:anon', @more);
        my $m = change($bob, $kind)->[0];
        ok(!exists $m->{user} && !exists $m->{info}, $name);
    };

    $hidden->(updated => 'changed data', data => { x => 2 });
    $hidden->(updated => 'merged', data => { y => 1 },
              merge => Fanout::JSON::true);
    $hidden->(updated => 'idle', state => 'idle');
    $hidden->(joined => 'a member by another key', data => {}, key => 'k');
    $hidden->(left => 'that left', data => undef, key => 'k');

    $ann->ok('join', channel => 'room:anon2',
             anonymous => Fanout::JSON::true);
    $bob->ok('join', channel => 'room:anon2');
    $ann->ok('presence', channel => 'room:anon2', data => {});
    ok(!exists change($bob, 'joined')->[0]{user}, 'a member after the join');

    $ann->ok('presence', channel => 'room:anon2', data => {},
             anonymous => Fanout::JSON::false);
    is(change($bob, 'updated')->[0]{user}, $ann->welcome->{user},
       'told when it is asked for');
    $ann->ok('presence', channel => 'room:anon2', data => { x => 1 });
    is(change($bob, 'updated')->[0]{user}, $ann->welcome->{user},
       'and from then on');

    my $token = $ann->resume;
    $ann->cut;
    $ann = client($two, user => $ann->welcome->{user}, resume => $token,
                  more => '&name=Ann');
    ok($ann->welcome->{resumed}, 'came back');
    $ann->ok('join', channel => 'room:anon');
    $hidden->(updated => 'changed after a return', data => { x => 3 });
};


subtest 'bad input' => sub {
    my $ws = $nginx->native(path => '/small');
    my $at = 'room:bad';
    $ws->ok('join', channel => $at, presence => { x => 1 });

    my $r = $ws->cmd('presence', channel => $at, data => 'x' x 63);
    is(code($r), 'too_large', 'more than fanout_presence_size');
    is_deeply($r->{error}{data}, { limit => 'presence', max => 64 }, 'limit');
    is(code($ws->cmd('join', channel => $at, presence => 'x' x 63)),
       'too_large', 'in a join');
    is(code($ws->cmd('presence', channel => $at,
                     merge => Fanout::JSON::true, data => { y => 'x' x 55 })),
       'too_large', 'merged');

    for ([ 'state' => 'away' ], [ state => 1 ], [ merge => 1, data => {} ],
         [ key => 'x' x 129, data => {} ], [ key => [], data => {} ],
         [ anonymous => 'yes', data => {} ], [])
    {
        is(code($ws->cmd('presence', channel => $at, @$_)), 'bad_request',
           Fanout::JSON::encode($_));
    }

    is(code($ws->cmd('join', channel => $at, want => 'presence')),
       'bad_request', 'want is an array');
    is(@{ $ws->ok('members', channel => $at)->{members} }, 1,
       'nothing has changed');
};


subtest 'idle and expire' => sub {
    my ($ann, $watch) = (client($one), client($two));

    $watch->ok('join', channel => 'quiet:1');
    $ann->ok('join', channel => 'quiet:1', presence => { x => 1 });
    change($watch, 'joined');

    is(change($watch, 'updated')->[0]{state}, 'idle', 'silent: idle');
    $ann->ok('ping');
    is(change($watch, 'updated')->[0]{state}, 'active', 'a command: active');
    is(change($watch, 'updated')->[0]{state}, 'idle', 'silent again');

    my $left = change($watch, 'left');
    is($left->[0]{reason}, 'timeout', 'silent for too long: it leaves');
    is_deeply($left->[0]{data}, { x => 1 }, 'with its data');

    is_deeply(ids(($ann->next_where(sub { $_[0]{presence}
                                          && $_[0]{presence}{left} })
                   || {})->{presence}{left}),
              [ $ann->client ], 'it is told as well');
    is(code($ann->cmd('leave', channel => 'quiet:1')), 'no error',
       'the subscription stayed');
};


sub state_of {
    my ($ws, $at, $client) = @_;

    my ($m) = grep { $_->{client} eq $client }
              @{ $ws->ok('members', channel => $at)->{members} };

    return $m && $m->{state};
}


subtest 'a state that was asked for stays' => sub {
    my $at = 'long:state';
    my ($ann, $watch) = (client($one), client($two));

    $watch->ok('join', channel => $at);
    $ann->ok('join', channel => $at, presence => { x => 1 });
    change($watch, 'joined');
    $ann->ok('presence', channel => $at, state => 'idle');
    is(change($watch, 'updated')->[0]{state}, 'idle', 'idle');

    my $r = $ann->ok('join', channel => $at, presence => { x => 1 });
    is($r->{members}[0]{state}, 'idle', 'joined again: as it was');
    $ann->ok('join', channel => $at, presence => { x => 2 });
    my $u = change($watch, 'updated')->[0];
    is_deeply([ $u->{data}{x}, $u->{state} ], [ 2, 'idle' ],
              'with other data, nobody is told a thing in between');

    $ann->cut;
    my $back = client($two, user => 'u' . ($users - 1),
                      resume => $ann->resume);
    ok($back->welcome->{resumed}, 'resumed');
    $back->ok('join', channel => $at, presence => { x => 2 });
    is(state_of($back, $at, $back->client), 'idle', 'and after a cut');

    $back->ok('presence', channel => $at, data => undef);
    change($watch, 'left');
    $back->ok('join', channel => $at, presence => { x => 2 });
    is(change($watch, 'joined')->[0]{state}, 'active', 'a new one is active');
};


subtest 'a state that is asked for, and silence' => sub {
    my $at = 'calm:1';
    my ($ann, $bob, $watch) = (client($one), client($one), client($two));

    $watch->ok('join', channel => $at);
    $ann->ok('join', channel => $at, presence => { x => 1 });
    change($watch, 'joined');
    $ann->ok('presence', channel => $at, state => 'idle');
    is(change($watch, 'updated')->[0]{state}, 'idle', 'asked to be idle');
    $ann->cut;

    $bob->ok('join', channel => $at, presence => { x => 2 });
    change($watch, 'joined');
    is(change($watch, 'updated')->[0]{state}, 'idle', 'idle by silence');
    $bob->cut;

    $ann = client($two, user => 'u' . ($users - 2), resume => $ann->resume);
    $bob = client($two, user => 'u' . ($users - 1), resume => $bob->resume);
    ok($ann->welcome->{resumed} && $bob->welcome->{resumed}, 'both resumed');

    $ann->ok('join', channel => $at);
    $ann->ok('ping');
    is(state_of($watch, $at, $ann->client), 'idle', 'is still idle');

    $bob->ok('join', channel => $at, presence => { x => 2 });
    my $u = change($watch, 'updated')->[0];
    is_deeply([ @$u{qw( client state )} ], [ $bob->client, 'active' ],
              'the other is heard of');
};


subtest 'autojoin' => sub {
    my $ws = $nginx->native(path => '/auto?user=joe', worker => $one);

    my $frame = $ws->next_push;
    my @replies = ref $frame eq 'ARRAY' ? @$frame : ($frame);
    push @replies, $ws->next_push while @replies < 3;

    is_deeply([ map { $_->{ok} ? $_->{ok}{channel} : $_->{error}{code} }
                @replies ],
              [ 'user:joe', 'room:auto', 'forbidden' ], 'told after the welcome');
    ok($nginx->log_like(qr/fanout_autojoin: forbidden/), 'logged');

    $http->post('/api/channels/user%3Ajoe/messages', '"hi"');
    is($ws->next_where(sub { $_[0]{data} })->{data}, 'hi', 'it is joined');

    $ws->cut;
    my $back = $nginx->native(path => '/auto?user=joe', worker => $two,
                              resume => $ws->resume);
    ok($back->welcome->{resumed}, 'resumed');
    $back->ok('ping');
    is_deeply([ $back->drain ], [], 'then it joins itself');

    $ws = $nginx->native(path => '/auto', worker => $two);
    $frame = $ws->next_push;
    @replies = ref $frame eq 'ARRAY' ? @$frame : ($frame);
    push @replies, $ws->next_push while @replies < 2;
    is($replies[0]{ok}{channel}, 'room:auto', 'an empty variable joins nothing');
};


subtest 'fanout_sessions_per_user' => sub {
    my @ws = map { $nginx->native(path => '/few?user=sam') } 1 .. 2;
    my $third = $nginx->native(path => '/few?user=sam', welcome => 0);

    my $closing = $third->next_push(5);
    is($closing->{closing}{code}, 'too_many', 'the third is told');
    cmp_ok($closing->{closing}{after}, '>=', 2000, 'to come back, but not yet');
    cmp_ok($closing->{closing}{after}, '<=', 3000, 'nor in a long time');
    is($third->next_push(5), undef, 'no more');
    is($third->close_code, 4429, 'it is closed');
    like($third->close_reason, qr/fanout_sessions_per_user/, 'says why');
    ok($nginx->native(path => '/few?user=tom'), 'another user may');

    $ws[0]->close(1000);
    wait_for(sub {
        my $next = $nginx->native(path => '/few?user=sam', welcome => 0);
        my $push = $next->next_push(5);
        $push && $push->{welcome};
    }, 5);
    pass('until one has gone');
};


subtest 'a long list' => sub {
    my $ann = client($one);
    my %members;

    $ann->ok('join', channel => 'big:1');

    # as many on a seat as there may be, and one more

    my @crowd = map { client(0) } 1 .. 63;

    for my $ws (@crowd) {
        $ws->send_cmd('join', channel => 'big:1', want => ['messages']);
        $ws->send_cmd('presence', channel => 'big:1', key => "k$_",
                      data => { n => $_, text => 'x' x 40 }) for 1 .. 32;
    }

    my $r = $crowd[0]->cmd('presence', channel => 'big:1', key => 'more',
                           data => {});
    is(code($r), 'too_many', 'members of one client');
    is_deeply($r->{error}{data}, { limit => 'keys', max => 32 }, 'the limit');

    wait_for(sub {
        apply(\%members, $_->{presence})
            for grep { $_->{presence} } $ann->drain;
        $ann->ok('ping');
        keys %members == 2016;
    }, 30);
    is(keys %members, 2016, 'all are told');

    for my $worker ($one, $two) {
        my $ws = client($worker);
        my $r = $ws->cmd('join', channel => 'big:1', presence => {});
        my @all = map { @{ $_->{members} || [] } } @{ $r->{part} || [] },
                  $r->{ok};
        is(@all, 2017, 'all of them in the reply');
        cmp_ok(scalar @{ $r->{part} || [] }, '>', 5, 'in parts');
        my %seen;
        $seen{ $_->{slot} }++ for @all;
        is(keys %seen, 2017, 'each once');
        is(join(',', map { $_->{slot} } @all),
           join(',', sort { $a <=> $b } keys %seen), 'by slot');
        $ws->close(1000);
        $ws = client($worker);
        $r = $ws->cmd('members', channel => 'big:1');
        @all = map { @{ $_->{members} || [] } } @{ $r->{part} || [] },
               $r->{ok};
        cmp_ok(scalar @all, '>=', 2016, 'members as well');
    }
};


subtest 'a reader that is behind' => sub {
    my $at = 'lag:1';
    my %of;

    for my $worker ($one, $two) {
        my $ann  = client($one);
        my $slow = $nginx->native(path => '/small', worker => $worker,
                                  rcvbuf => 4096);
        my (%list, @messages, @gaps);
        my $lags = $http->get('/status')->json->{counters}{lags};

        apply(\%list, { joined => $slow->ok('join', channel => $at)->{members} });
        $ann->ok('join', channel => $at, presence => { n => 0 },
                 want => ['messages']);

        # more than its socket and its buffer hold, which all is kept

        for my $n (1 .. 60) {
            $ann->ok('presence', channel => $at,
                     data => { n => $n, text => 'x' x 2000 });
            $http->post("/api/channels/lag%3A1/messages",
                        Fanout::JSON::encode([ $n, 'y' x 50000 ]));
        }

        wait_for(sub {
            for ($slow->drain) {
                push @messages, $_->{data}[0] if $_->{data};
                push @gaps, $_->{gap} if $_->{gap};
                apply(\%list, $_->{presence}) if $_->{presence};
            }
            my ($m) = grep { $_->{client} eq $ann->client } values %list;
            @messages == 60 && $m && $m->{data}{n} == 60;
        }, 20);

        is_deeply(\@messages, [ 1 .. 60 ], 'gets all messages');
        is_deeply([ map { $_->{data}{n} }
                    grep { $_->{client} eq $ann->client } values %list ],
                  [ 60 ], 'and all changes');
        is_deeply(\@gaps, [], 'without a gap');
        cmp_ok($http->get('/status')->json->{counters}{lags}, '>', $lags,
               'though it had fallen behind');

        # more than is kept of changes

        # one by one: of those in a turn only the latest is told

        for my $n (1 .. 400) {
            $ann->ok('presence', channel => $at,
                     data => { n => $n, text => 'z' x 4000 });
        }
        $http->post("/api/channels/lag%3A1/messages", '["end"]');

        my ($gap, $end);
        my $seen = 0;
        wait_for(sub {
            for ($slow->drain) {
                $gap ||= $_->{gap};
                $seen += @{ $_->{presence}{updated} || [] } if $_->{presence};
                $end = 1 if $_->{data} && $_->{data}[0] eq 'end';
            }
            $end;
        }, 20);
        ok($end, 'it comes to the end');
        diag("saw $seen, ", Fanout::JSON::encode($gap))
            if !$gap || !$gap->{of};
        ok($gap || $seen == 400, 'and is told if it has lost some');
        $of{presence}++ if $gap && ($gap->{of} // '') eq 'presence';

        my @all = @{ $slow->ok('members', channel => $at)->{members} };
        my ($m) = grep { $_->{client} eq $ann->client } @all;
        is($m->{data}{n}, 400, 'it reads the state again');

        $_->close(1000) for $ann, $slow;
    }

    ok($of{presence}, 'and that it was of presence');
};


subtest 'many come and go at once' => sub {
    my $at = 'room:crowd';
    my @watch = (client($one), client($two));
    my @list = ({}, {});

    apply($list[$_], { joined => $watch[$_]->ok('join', channel => $at)
                                           ->{members} }) for 0, 1;

    for (1 .. 3) {
        my @crowd = map { client(0) } 1 .. 60;
        my @ids = map { $_->send_cmd('join', channel => $at,
                                     presence => { n => 1 }) } @crowd;

        for my $i (0 .. $#crowd) {
            my $r = $crowd[$i]->reply($ids[$i]);
            my %mine = map { ("$_->{client}/" => $_) } map {
                @{ $_->{members} || [] } } @{ $r->{part} || [] }, $r->{ok};
            ok($mine{ $crowd[$i]->client . '/' }, 'is in its own list')
                if $i % 20 == 0;
            $crowd[$i]{list} = \%mine;
        }

        # half of them go, each as it likes

        my @stay = @crowd[ 0 .. 29 ];
        $_ % 3 == 0 ? $crowd[$_]->cut : $_ % 3 == 1 ? $crowd[$_]->close(1000)
            : $crowd[$_]->send_cmd('leave', channel => $at) for 30 .. 59;

        my $want = join ' ', sort map { $_->client . '/' } @stay;

        for my $ws (@stay, @watch) {
            my $list = $ws->{list} || ($ws == $watch[0] ? $list[0] : $list[1]);
            my $same = wait_for(sub {
                apply($list, $_->{presence})
                    for grep { $_->{presence} } $ws->drain;
                join(' ', sort keys %$list) eq $want;
            }, 15);
            ok($same, 'sees who is there') or last;
        }

        $_->close(1000) for @stay;

        wait_for(sub {
            for my $i (0, 1) {
                apply($list[$i], $_->{presence})
                    for grep { $_->{presence} } $watch[$i]->drain;
            }
            !%{ $list[0] } && !%{ $list[1] };
        }, 15);
        is_deeply(\@list, [ {}, {} ], 'all are gone');
    }
};


subtest 'an array of commands' => sub {
    my ($ann, $bob) = (client($one), client($two));
    $bob->ok('join', channel => 'slow:b');
    $bob->ok('presence', channel => 'slow:b', data => {});

    # the first change went at once: this one waits for the batch

    my @r = $ann->batch({ op => 'join', channel => 'slow:b', presence => {} },
                        { op => 'ping' },
                        { op => 'members', channel => 'slow:b' });
    @r = @{ $r[0] } if ref $r[0] eq 'ARRAY';
    is(@{ $r[0]{ok}{members} }, 2, 'its join waits until it is told');
    ok($r[1]{ok}{time}, 'what is behind it comes behind it');
    is(@{ $r[2]{ok}{members} }, 2, 'and knows it');
    silent($ann, 'no own joined');
};
