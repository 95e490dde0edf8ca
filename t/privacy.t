#!/usr/bin/env perl

# Who is told who: with the permission presence alone others are seen, but not
# which users they are; anonymous members are told to nobody; and a client can
# stop being seen. If this fails, somebody learns a name that was not for them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw( sleep );

use Fanout::AuthorizeBackend;
use Fanout::Client;
use Fanout::HookBackend;
use Fanout::JSON;
use Fanout::JWT;
use Fanout::Nginx;


my $secret  = 'what only the backend knows';
my $backend = Fanout::HookBackend->start;
my $asked   = $backend->port;
my $rights  = Fanout::AuthorizeBackend->start;
my $may     = $rights->port;
my $blind   = 'join,publish,history,presence,signal,record,lock';

my $nginx = Fanout::Nginx->start(
    http => <<"END",
        fanout_zone app 16m;
        fanout_deflate_min_length 20;
        fanout_zone ask 4m;
        fanout_channel ask * history=100 presence=on;
        fanout_channel app count:* history=100 presence=summary batch=0;
        fanout_channel app * history=1000 presence=on records=old locks=1m
                             batch=10ms linger=1s;
        fanout_budget off;
        fanout_rate off;
END
    server => <<"END",
        fanout_user_info name=\$arg_name;
        fanout_deflate on;
        location /all {
            fanout app;
            fanout_user \$arg_user;
            fanout_permit all *;
        }
        location /blind {
            fanout app;
            fanout_user \$arg_user;
            fanout_permit $blind *;
            fanout_permit profile known:*;
        }
        location /token {
            fanout app;
            fanout_jwt 'secret=$secret' from=subprotocol;
            fanout_permit $blind *;
            fanout_permit profile list:\$fanout_claim_known;
        }
        location /asked {
            fanout ask;
            fanout_user \$arg_user;
            fanout_permit all *;
        }
        location /granted {
            fanout app;
            fanout_user \$arg_user;
            fanout_permit $blind *;
            fanout_authorize /may profile;
        }
        location = /may { internal; proxy_pass http://127.0.0.1:$may; }
        fanout_hook ask /hook publish;
        location = /hook { internal; proxy_pass http://127.0.0.1:$asked; }
        location /api/ { fanout_api app; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $http = $nginx->http;
my $n = 0;

# Whoever is looked for is hidden-USER, with a profile Hidden-NAME.

sub ann {
    my ($worker, %o) = @_;

    return $nginx->native(worker => $worker || $one,
                          path => '/all?user=hidden-ann&name=Hidden-Ann', %o);
}

sub names { return Fanout::JSON::encode($_[0]) =~ /hidden-|Hidden-/ ? 1 : 0 }

sub yes { Fanout::JSON::true }

# Everything that is told of what Ann does, on a channel of its own

sub acts {
    my ($ann, $channel) = @_;
    my @c = (channel => $channel);

    $ann->ok('presence', @c, data => { shown => 1 });
    $ann->ok('publish', @c, data => 'message');
    $ann->ok('publish', @c, data => 'x' x 3000);
    $ann->ok('publish', @c, data => 'passing', store => Fanout::JSON::false);
    $ann->ok('signal', @c, event => 'cursor', data => 1);
    $ann->ok('set', @c, record => 'r', set => { a => 1 });
    $ann->ok('lock', @c, name => 'r.a', data => { color => 'red' });
    $ann->ok('presence', @c, data => { shown => 2 });
    $ann->ok('presence', @c, data => undef);
    $ann->ok('publish', @c, data => 'last');
}

# what a client was told until the message "last"

sub told {
    my ($client) = @_;
    my @told;

    while (my $e = $client->next_entry(10)) {
        push @told, $e;
        last if ($e->{data} // '') eq 'last';
    }

    return \@told;
}

sub message {
    my ($client, $data) = @_;

    while (my $e = $client->next_message(10)) {
        return $e if ($e->{data} // '') eq $data;
    }
}

sub kinds {
    my %kinds = map {
        map { /^(presence|data|signal|record|lock)$/ ? ($1 => 1) : () } keys %$_
    } @{ $_[0] };

    return join ' ', sort keys %kinds;
}


for my $transport (Fanout::Client->transports) {
    subtest "what is told over $transport" => sub {
        my $channel = 'room:' . ++$n;
        my $ann = ann();
        $ann->ok('join', channel => $channel, presence => { shown => 0 });

        my %c;

        for my $which (qw( all blind known )) {
            my $path = $which eq 'all' ? '/all' : '/blind';

            $c{$which} = Fanout::Client->open($nginx, $transport, $path,
                user => "w-$which", session => 1, worker => $two,
                joins => [ { channel => $which eq 'known' ? "known:$n"
                                                          : $channel } ]);
        }

        for (values %c) {
            # the list of an event stream comes behind its reply
            $_->next_entry(0.2) until $_->lists && %{ $_->lists };
        }

        my ($first) = $c{blind}->members($channel);
        is($first->{client}, $ann->client, 'that somebody is there');
        is_deeply($first->{data}, { shown => 0 }, 'and what she shows');
        ok(!names($first), 'but not who');
        ok(names([ $c{all}->members($channel) ]), 'unless it may be seen');

        $ann->ok('join', channel => "known:$n", presence => { shown => 0 });
        acts($ann, $channel);
        acts($ann, "known:$n");

        my %told = map { $_ => told($c{$_}) } keys %c;

        # between two polls only what is kept is told

        my $kinds = $transport eq 'poll' ? qr/^data .*record$/
                                         : qr/^data lock presence record signal$/;

        like(kinds($told{$_}), $kinds, "$_: all kinds") for sort keys %told;
        is(join(' ', grep { names($_) } @{ $told{blind} }), '', 'nothing names her');
        ok(names($_), 'with profile all do: ' . join ',', sort keys %$_)
            for grep { !$_->{gap} } @{ $told{all} };
        ok(names($told{known}), 'also on a single channel');
        is($told{blind}[-1]{from}{client}, $ann->client, 'the client is told');

        # what is read

        my @c = (channel => $channel);
        my $blind = $c{blind};

        my $messages = $blind->ok('history', @c)->{messages};
        is(scalar @$messages, 4, 'the history');
        ok(!names($messages), 'does not name her');
        ok(!names($blind->ok('history', @c, record => 'r')), 'nor that of a record');
        ok(!names($blind->ok('get', @c, all => yes(), locks => yes())),
           'nor the locks');
        ok(!names($blind->ok('members', @c)), 'nor the members');

        my $conflict = $blind->cmd('set', @c, record => 'r', base => 0,
                                   set => { a => 2 })->{error};
        is($conflict->{code}, 'conflict', 'a conflict');
        ok($conflict->{data}{rejected}{a} && !names($conflict), 'is nameless, too');

        $conflict = $blind->cmd('lock', @c, name => 'r.a')->{error};
        is($conflict->{code}, 'locked', 'a lock that is held');
        is($conflict->{data}{holder}{client}, $ann->client, 'by a client');
        ok(!names($conflict), 'without a name');

        my $all = $c{all};
        ok(names($all->cmd('lock', @c, name => 'r.a')), 'a name for who may');
        ok(names($all->cmd('set', @c, record => 'r', base => 0,
                           set => { a => 2 })), 'also of a conflict');
        ok(names($all->ok('history', @c)) && names($all->ok('history', @c,
           record => 'r')) && names($all->ok('get', @c, locks => yes())),
           'and what is read');

        # direct messages

        is($blind->cmd('publish', @c, to => { user => 'hidden-ann' },
                       data => 1)->{error}{code}, 'forbidden',
           'a user can\'t be looked for');
        is($blind->cmd('signal', @c, to => { user => 'hidden-ann' },
                       event => 'e')->{error}{code}, 'forbidden', 'nor by a signal');
        ok($blind->ok('publish', @c, to => { client => $ann->client },
                      data => 1)->{delivered}, 'a client can');

        $ann->ok('publish', @c, to => { user => 'w-blind' }, data => 'direct');
        my $direct = $blind->next_message;
        is($direct->{data}, 'direct', 'a direct message');
        ok(!names($direct), 'does not name her');

        ok(!names($_), 'nor any change of members')
            for $blind->{presences}, [ $blind->members($channel) ];
    };
}


subtest 'joins' => sub {
    my $ann = ann();

    $ann->ok('join', channel => 'join:1', presence => { x => 1 });
    acts($ann, 'join:1');
    $ann->ok('presence', channel => 'join:1', data => { x => 1 });

    $ann->ok('members', channel => 'join:1');           # all are told

    my ($all, $blind) = map { $nginx->native(path => "/$_?user=w", worker => $_[0]) }
                        'all', 'blind';

    for my $round (1 .. 2) {
        # the second one of each is read from what was kept of the first

        for my $i (1 .. 2) {
            my @join = (channel => 'join:1', $round == 1
                ? (history => 100) : (since => { epoch => 'x', offset => 0 }));

            my $r = $blind->cmd('join', @join);
            ok(@{ $r->{ok}{members} } && !names($r), "$round.$i: no names");

            ok(names($all->cmd('join', @join)), 'names for who may');
        }
    }

    my $epoch = $all->ok('history', channel => 'join:1')->{epoch};

    for my $i (1 .. 2) {
        my $r = $blind->cmd('join', channel => 'join:1',
                            since => { epoch => $epoch, offset => 0 });
        ok(@{ $r->{ok}{messages} } && !names($r), 'messages that were missed');
    }

    # many members: a list in parts, of the same list with and without names

    for my $i (1 .. 3) {
        for my $key (1 .. 30) {
            $ann->ok('presence', channel => "join:1", key => "k$key",
                     data => { t => 'y' x 900, n => $i });
        }

        $ann->ok('members', channel => 'join:1');       # all are told
        sleep 0.1;

        for my $who ($blind, $all) {
            my $r = $who->cmd('members', channel => 'join:1');
            my @m = map { @{ $_->{members} } } @{ $r->{part} || [] }, $r->{ok};

            is(scalar @m, 31, 'all members');
            is(scalar(grep { names($_) } @m), $who == $all ? 31 : 0, 'their names');
            is(scalar(grep { $_->{state} && defined $_->{slot} } @m), 31, 'all else');
        }
    }
};


subtest 'deflated' => sub {
    my ($ann, $blind) = (ann(), $nginx->native(path => '/blind?user=w',
        worker => $two, deflate => 1));
    my $all = $nginx->native(path => '/all?user=w', worker => $two, deflate => 1);

    $_->ok('join', channel => 'zip') for $blind, $all;
    $ann->ok('join', channel => 'zip', presence => {});
    acts($ann, 'zip');

    my $read = sub {
        my @told;

        while (my $p = $_[0]->next_push(5)) {
            push @told, $p;
            last if ($p->{data} // '') eq 'last';
        }

        return \@told;
    };

    my $told = $read->($blind);
    ok(@$told > 6 && !names($told), 'no names');
    $told = $read->($all);
    ok(@$told > 6 && names($told), 'names');
};


subtest 'shared encodings' => sub {
    my $ann = ann();
    my @c = map { $nginx->native(path => ($_ % 2 ? '/all' : '/blind') . '?user=w',
                                 worker => $two) } 1 .. 10;

    $_->ok('join', channel => 'share') for @c;
    $ann->ok('publish', channel => 'share', data => 'm');

    my @told = map { $_->next_where(sub { $_[0]{data} }) } @c;
    is(join('', map { names($_) } @told), '1010101010', 'each its own');
};


subtest 'a new token' => sub {
    my $token = sub {
        return Fanout::JWT::sign('HS256', $secret,
            { sub => 'eve', exp => time + 600, known => $_[0] });
    };
    my $ann = ann();
    my $eve = $nginx->native(path => '/token', worker => $two,
                             token => $token->([]));

    $ann->ok('join', channel => 'renew', presence => {});
    $eve->ok('join', channel => 'renew');

    my $hears = sub {
        $ann->ok('publish', channel => 'renew', data => 'm');
        return names($eve->next_where(sub { $_[0]{data} }));
    };

    is($hears->(), 0, 'no name');
    $eve->ok('auth', token => $token->([ 'renew' ]));
    is($hears->(), 1, 'a name with a token that allows it');
    ok(names($eve->ok('members', channel => 'renew')), 'also of members');
    $eve->ok('auth', token => $token->([]));
    is($hears->(), 0, 'and none without');
    ok(!names($eve->ok('members', channel => 'renew')), 'nor of members');
    ok($eve->ok('leave', channel => 'renew'), 'the join went on');
};


subtest 'what a backend grants for a time' => sub {
    $rights->says('profile while' => [ 200, {
        ttl => 0, expires => 1000 * CORE::time() + 4000
    } ]);

    my $ann = ann();
    my %c = map { $_ => Fanout::Client->open($nginx, $_, '/granted',
                            user => 'eve', channels => [ 'while' ]) }
            qw( websocket sse );

    my $hear = sub {
        my ($data) = @_;

        $ann->ok('publish', channel => 'while', data => $data);
        return join ' ', map { names(message($c{$_}, $data)) } sort keys %c;
    };

    is($hear->('first'), '1 1', 'names while it lasts');
    ok(Fanout::Nginx::wait_for(sub {
        sleep 0.2;
        return $hear->('m' . ++$n) eq '0 0';
    }, 10), 'and none afterwards');
    ok($c{websocket}->ok('leave', channel => 'while'), 'the join goes on');
};


subtest 'anonymous' => sub {
    my $bob = Fanout::Client->open($nginx, 'websocket', '/all', user => 'bob',
                                   joins => [ { channel => 'anon' } ]);
    my $ann = ann($two);
    my @c = (channel => 'anon');

    $ann->ok('join', @c, presence => { shown => 1 }, anonymous => yes());
    acts($ann, 'anon');

    my $told = told($bob);
    is(kinds($told), 'data lock presence record signal', 'all is told');
    is(join(' ', map { Fanout::JSON::encode($_) } grep { names($_) } @$told), '',
       'nothing names her');
    is($told->[-1]{from}{client}, $ann->client, 'only the client');

    $ann->ok('presence', @c, data => { shown => 3 });
    ok(!names($bob->ok('members', @c)), 'the list does not');
    ok(!names($bob->ok('history', @c)), 'the history does not');
    ok(!names($bob->ok('get', @c, all => yes(), locks => yes())), 'no lock');
    ok(!names($bob->cmd('set', @c, record => 'r', base => 0, set => { a => 2 })),
       'no conflict');
    ok(!names($bob->cmd('lock', @c, name => 'r.a')), 'and no lock that is held');

    # by POST, as the same client

    my $post = sub {
        my (%command) = @_;
        return $http->post('/all?user=hidden-ann&name=Hidden-Ann',
            Fanout::JSON::encode({ id => 1, @c, %command }), headers => {
                'Content-Type' => 'application/json',
                'Fanout-Resume' => $ann->resume })->json;
    };

    ok($post->(op => 'publish', data => 'posted')->{ok}, 'a POST');
    my $e = message($bob, 'posted');
    ok(!names($e), 'is anonymous, too');

    # the API knows

    my $members;
    wait_for(sub {
        $members = $http->get('/api/channels/anon/presence')->json->{members};
        return @$members;
    });
    is($members->[0]{user}, 'hidden-ann', 'the API tells who it is');
    is_deeply($members->[0]{info}, { name => 'Hidden-Ann' }, 'and the profile');
    ok($members->[0]{anonymous}, 'and that others do not know');
    is(scalar @{ $http->get('/api/channels/anon/presence?user=hidden-ann')
                      ->json->{members} }, 1, 'the user is found');

    my ($m) = grep { ($_->{data} // '') eq 'last' }
              @{ $http->get('/api/channels/anon/messages')->json->{messages} };
    is_deeply($m->{from}, { client => $ann->client, user => 'hidden-ann',
                            anonymous => yes() }, 'also of a message');

    # on other channels she is who she is

    $ann->ok('publish', channel => 'other', data => 1);
    ok(names($bob->ok('history', channel => 'other')), 'elsewhere she has a name');

    $ann->ok('presence', @c, data => { shown => 4 }, anonymous => Fanout::JSON::false);
    $ann->ok('publish', @c, data => 'shown');
    $e = message($bob, 'shown');
    ok(names($e), 'and here, when she wants to');

    # she comes back as she was

    my $eve = ann($one);
    $eve->ok('join', channel => 'back', presence => {}, anonymous => yes());
    my $token = $eve->resume;
    $eve->cut;
    $eve = ann($two, resume => $token);
    ok($eve->welcome->{resumed}, 'she comes back');
    $eve->ok('join', channel => 'back');
    $eve->ok('publish', channel => 'back', data => 1);
    ok(!names($bob->ok('history', channel => 'back')), 'and is anonymous still');

    # without a member, and where members are only counted

    my $kim = ann($one);
    $kim->ok('join', channel => 'count:a', presence => {}, anonymous => yes());
    $kim->ok('join', channel => 'quiet', anonymous => yes());
    $kim->ok('publish', channel => $_, data => 1) for 'count:a', 'quiet';
    ok(!names($bob->ok('history', channel => $_)), $_) for 'count:a', 'quiet';
    is($bob->ok('members', channel => 'count:a')->{summary}{members}, 1,
       'she counts');
};


subtest 'anonymous, but not to the backend' => sub {
    my $ann = $nginx->native(path => '/asked?user=hidden-ann');

    $ann->ok('join', channel => 'asked:a', presence => {}, anonymous => yes());
    $ann->ok('publish', channel => 'asked:a', data => 'asked');

    my ($asked) = $backend->asked;
    like(Fanout::JSON::encode($asked), qr/"user":"hidden-ann"/,
         'the backend is asked with the user');
    like(Fanout::JSON::encode($asked), qr/"anonymous":true/, 'who is anonymous');

    $ann->ok('publish', channel => 'asked:a',
             data => { change => [ { data => 'changed' } ] });

    my $bob = $nginx->native(path => '/asked?user=bob');
    my $history = $bob->ok('history', channel => 'asked:a');
    is(join(' ', map { $_->{data} } @{ $history->{messages} }), 'asked changed',
       'what it allowed and changed');
    ok(!names($history), 'names nobody');
};


subtest 'not to be seen' => sub {
    my $bob = Fanout::Client->open($nginx, 'websocket', '/all', user => 'bob',
                                   joins => [ { channel => 'seen' } ]);

    for my $transport (Fanout::Client->transports) {
        my @c = (channel => 'seen');
        my $ann = Fanout::Client->open($nginx, $transport, '/all',
            user => 'hidden-ann', worker => $two, session => 1,
            joins => [ { @c } ]);

        $bob->ok('publish', @c, data => "$transport 1");
        is($bob->next_entry->{data}, "$transport 1", 'she joins unseen');
        is($ann->next_message->{data}, "$transport 1", 'and hears');

        $ann->ok('presence', @c, data => {});
        my $e = $bob->next_entry;
        is($e->{presence}{joined}[0]{user}, 'hidden-ann', 'she switches it on');

        if ($transport ne 'poll') {
            # a poll gets locks only while it is open
            $ann->ok('lock', @c, name => "l-$transport");
            $bob->next_entry;
        }

        $ann->ok('presence', @c, data => undef);
        $e = $bob->next_entry;
        is_deeply([ map { $_->{reason} } @{ $e->{presence}{left} } ],
                  [ 'intentional' ], 'others see a leave');
        is(scalar @{ $bob->ok('members', @c)->{members} }, 0, 'she is in no list');

        $bob->ok('publish', @c, data => "$transport 2");
        $ann->next_message if $transport ne 'poll';
        is($ann->next_message->{data}, "$transport 2", 'she goes on hearing');
        is($bob->next_entry->{data}, "$transport 2", 'as others do');

        is($bob->cmd('lock', @c, name => "l-$transport")->{error}{code}, 'locked',
           'she keeps her locks') if $transport ne 'poll';

        $ann->ok('presence', @c, data => { back => 1 });
        $e = $bob->next_entry;
        is_deeply($e->{presence}{joined}[0]{data}, { back => 1 }, 'and on again');

        $ann->ok('leave', @c);
        $bob->next_entry for 1 .. ($transport eq 'poll' ? 1 : 2);
    }
};


subtest 'no member can be made by who may not be seen' => sub {
    my $r = $nginx->native(path => '/blind?user=x')
        ->cmd('join', channel => 'ok', presence => {});
    ok($r->{ok}, 'profile is not needed to be seen');
};


$nginx->done_testing;
