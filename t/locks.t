#!/usr/bin/env perl

# Locks in the native protocol: who holds one, who waits, and what others are
# told. If this fails, two clients believe that they hold the same lock, a
# client waits for a reply that never comes, or somebody's list of locks differs
# from the server's.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw( sleep time );

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Stream;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 32m;
        fanout_rate off;
        fanout_budget off;
        fanout_drain 100ms;
        fanout_channel app plain:* history=10;
        fanout_channel app guarded:* records=on locks=1m guard=on history=100;
        fanout_channel app mixed:* records=on locks=1m presence=on history=100;
        fanout_channel app short:* locks=1s linger=1s;
        fanout_channel app kept:* locks=1m linger=1m;
        fanout_channel app * locks=1m linger=2s history=100;
END
    server => <<'END',
        listen 127.0.0.1:%%PORT%% sndbuf=16k;

        location /realtime {
            fanout app;
            fanout_user $arg_user;
            fanout_permit all *;
        }
        location /slow {
            fanout app;
            fanout_permit all *;
            fanout_buffer 8k;
        }
        location /nameless {
            fanout app;
            fanout_permit join,record *;
            fanout_permit profile other;
        }
        location /reader { fanout app; fanout_permit join *; }
        location /writer { fanout app; fanout_permit record *; }
        location /api/ { fanout_api app; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $ann = $nginx->native(worker => $one, path => '/realtime?user=ann');
my $bob = $nginx->native(worker => $two, path => '/realtime?user=bob');

sub code { $_[0]{error} ? $_[0]{error}{code} : 'ok' }

# what is told of locks on a channel next

sub told {
    my ($ws, $channel) = @_;

    my $push = $ws->next_where(sub { ($_[0]{channel} || '') eq $channel
                                     && $_[0]{lock} }, 5);

    return $push && $push->{lock};
}

sub joined {
    my ($channel, @who) = @_;

    $_->ok('join', channel => $channel) for @who;
}

sub person { { client => $_[0]->client, user => $_[1] } }


subtest 'one holder' => sub {
    joined('a', $ann, $bob);

    my $ok = $ann->ok('lock', channel => 'a', name => 'doc',
                      data => { color => 'red' });

    ok($ok->{token} > 2 ** 50, 'a token');
    is_deeply([ sort keys %$ok ], [ 'expires', 'token' ], 'and an end');
    ok(abs($ok->{expires} - 1000 * time - 30000) < 3000, 'in 30 s by default');

    for my $ws ($ann, $bob) {
        my $lock = told($ws, 'a');

        is_deeply($lock, { name => 'doc', expires => $ok->{expires}, holder =>
                           { %{ person($ann, 'ann') }, data => { color => 'red' } } },
                  'who holds it is told');
    }

    my $error = $bob->cmd('lock', channel => 'a', name => 'doc')->{error};

    is($error->{code}, 'locked', 'nobody else gets it');
    is_deeply($error->{data}, { expires => $ok->{expires}, waiting => 0, holder =>
                                { %{ person($ann, 'ann') },
                                  data => { color => 'red' } } }, 'and learns who has it');

    my $again = $ann->ok('lock', channel => 'a', name => 'doc', ttl => 50000);

    is($again->{token}, $ok->{token}, 'a renewal has the same token');
    ok($again->{expires} > $ok->{expires}, 'and a later end');
    is_deeply(told($bob, 'a')->{holder}{data}, { color => 'red' },
              'the data stay, and others see the new end');

    is(code($bob->cmd('unlock', channel => 'a', name => 'doc')), 'not_holder',
       'only the holder unlocks');
    is(code($ann->cmd('unlock', channel => 'a', name => 'doc', token => 1)),
       'not_holder', 'and only with its token, if it says one');
    is_deeply($ann->ok('unlock', channel => 'a', name => 'doc', token => $ok->{token}), {},
              'as with the right one');
    is_deeply(told($bob, 'a'), { name => 'doc', holder => undef, reason => 'unlocked' },
              'the end is told');
    is(code($ann->cmd('unlock', channel => 'a', name => 'doc')), 'not_holder',
       'and there is one');

    cmp_ok($bob->ok('lock', channel => 'a', name => 'doc')->{token}, '>', $ok->{token},
           'the next token is above');
    $bob->ok('unlock', channel => 'a', name => 'doc');
};


# A token has the time of the grant in it, and the time is told

subtest 'the token of somebody else' => sub {
    my $writer = $nginx->native(path => '/writer');

    for my $channel (qw( guarded:token mixed:token )) {
        $ann->ok('join', channel => $channel);

        my $ok = $ann->ok('lock', channel => $channel, name => 'r1');

        for my $o ({ set => { a => 1 } }, { set => { a => 1 },
                                            release => 'r1' }) {
            is(code($writer->cmd('set', channel => $channel, record => 'r1',
                                 token => $ok->{token}, %$o)), 'not_holder',
               'is of no use to others');
        }

        is(code($ann->cmd('set', channel => $channel, record => 'r1',
                          token => $ok->{token}, set => { a => 1 })), 'ok',
           'is to who holds the lock');
        is(code($writer->cmd('delete', channel => $channel, record => 'r1',
                             token => $ok->{token})), 'not_holder',
           'nor for a delete');
        is(code($ann->cmd('unlock', channel => $channel, name => 'r1')), 'ok',
           'it was not released');
    }
};


subtest 'a shorter wait behind a longer one' => sub {
    $_->ok('join', channel => 'waits') for $ann, $bob;
    $ann->ok('lock', channel => 'waits', name => 'x');

    my $long  = $bob->send_cmd('lock', channel => 'waits', name => 'x',
                               wait => 60_000);
    my $short = $bob->send_cmd('lock', channel => 'waits', name => 'x',
                               wait => 10);

    is(code($bob->reply($short)), 'locked', 'is over');

    # the zone waits a second longer than the worker

    select undef, undef, undef, 2.5 * $Fanout::Socket::SCALE;

    $ann->ok('unlock', channel => 'waits', name => 'x');
    is(code($bob->reply($long)), 'ok', 'the longer one keeps its place');
};


subtest 'waiting' => sub {
    joined('w', $ann, $bob);

    my $cid = $nginx->native(worker => $one, path => '/realtime?user=cid');
    joined('w', $cid);

    my $first = $ann->ok('lock', channel => 'w', name => 'x');
    my $b = $bob->send_cmd('lock', channel => 'w', name => 'x', wait => 10000);
    ok($bob->ok('ping')->{time}, 'commands behind it go on');
    my $c = $cid->send_cmd('lock', channel => 'w', name => 'x', wait => 10000,
                           data => { n => 3 });
    $cid->ok('ping');

    is($bob->cmd('lock', channel => 'w', name => 'x')->{error}{data}{waiting}, 2,
       'how many wait is told');

    $ann->ok('unlock', channel => 'w', name => 'x');

    my $second = $bob->reply($b)->{ok};
    cmp_ok($second->{token}, '>', $first->{token}, 'the first in line has it');
    is_deeply({ %{ told($ann, 'w') }, expires => 0 },
              { name => 'x', holder => person($ann, 'ann'), expires => 0 }, 'first');
    is_deeply({ %{ told($ann, 'w') }, expires => 0 },
              { name => 'x', holder => person($bob, 'bob'), expires => 0,
                reason => 'unlocked' }, 'the end of one and the grant of the next');

    $bob->ok('leave', channel => 'w');

    my $third = $cid->reply($c)->{ok};
    cmp_ok($third->{token}, '>', $second->{token}, 'a leave ends a lock, too');
    my $lock = told($ann, 'w');
    is($lock->{reason}, 'left', 'for that reason');
    is_deeply($lock->{holder}, { %{ person($cid, 'cid') }, data => { n => 3 } },
              'with the data of the next');

    my $start = 1000 * time;
    my $error = $ann->cmd('lock', channel => 'w', name => 'x', wait => 300)->{error};
    is($error->{code}, 'locked', 'a wait that is over');
    is_deeply($error->{data}{holder}{client}, $cid->client, 'tells the holder');
    is($error->{data}{waiting}, 0, 'and waits no more');

    my $id = $ann->send_cmd('lock', channel => 'w', name => 'x', wait => 10000);
    $ann->ok('ping');
    $ann->ok('leave', channel => 'w');
    is(code($ann->reply($id)), 'not_joined', 'a wait ends with a leave');

    joined('w', $ann);
    $id = $ann->send_cmd('lock', channel => 'w', name => 'x', wait => 10000);
    $ann->ok('ping');
    $nginx->http->delete('/api/clients/' . $ann->client . '?channel=w');
    is(code($ann->reply($id)), 'not_joined', 'and with a kick');

    joined('w', $bob);
    $id = $bob->send_cmd('lock', channel => 'w', name => 'x', wait => 10000);
    $bob->ok('ping');
    $cid->cut;
    ok($bob->reply($id, 8)->{ok}, 'one who does not come back loses it');
    $bob->ok('unlock', channel => 'w', name => 'x');
};


subtest 'a wait is called off' => sub {
    joined('off', $ann, $bob);

    my $held = $ann->ok('lock', channel => 'off', name => 'x');
    my @id   = map { $bob->send_cmd('lock', channel => 'off', name => 'x', wait => 60000) } 1, 2;
    my $y    = $bob->send_cmd('lock', channel => 'off', name => 'y');

    ok($bob->reply($y)->{ok}, 'another lock');
    is(code($bob->cmd('unlock', channel => 'off', name => 'x', token => 1)), 'not_holder',
       'a token is that of a lock, and ends no wait');

    my $unlock = $bob->send_cmd('unlock', channel => 'off', name => 'x');

    is_deeply([ map { code($bob->reply($_, 5)) } @id ], [ 'locked', 'locked' ],
              'each wait is answered');
    is_deeply($bob->reply($unlock)->{ok}, {}, 'and what ends it');
    is($ann->cmd('lock', channel => 'off', name => 'x')->{ok}{token}, $held->{token},
       'the holder keeps it');
    is(code($bob->cmd('unlock', channel => 'off', name => 'x')), 'not_holder',
       'there is no wait any more');

    $ann->ok('unlock', channel => 'off', name => 'x');
    is($ann->ok('get', channel => 'off', locks => \1)->{locks}[0]{name}, 'y',
       'so nobody is granted the lock');

    my @replies = $bob->batch({ op => 'unlock', channel => 'off', name => 'y' },
                              { op => 'unlock', channel => 'off', name => 'y' });
    is_deeply([ map { code($_) } @replies ], [ 'ok', 'not_holder' ], 'in an array, too');
};


subtest 'time' => sub {
    joined('short:1', $ann, $bob);

    is(code($ann->cmd('lock', channel => 'short:1', name => 'x', ttl => 2000)),
       'bad_request', 'locks= is the longest');

    my $ok = $ann->ok('lock', channel => 'short:1', name => 'x');
    ok($ok->{expires} - 1000 * time < 1500, 'and the default, if it is shorter');

    my $id = $bob->send_cmd('lock', channel => 'short:1', name => 'x', wait => 5000);
    my $next = $bob->reply($id)->{ok};
    cmp_ok($next->{token}, '>', $ok->{token}, 'the next has it when the time is over');
    told($bob, 'short:1');
    is(told($bob, 'short:1')->{reason}, 'expired', 'which is told');
    is(code($ann->cmd('unlock', channel => 'short:1', name => 'x', token => $ok->{token})),
       'not_holder', 'the holder learns that it is none');

    is_deeply(told($bob, 'short:1'), { name => 'x', holder => undef, reason => 'expired' },
              'a lock that nobody waits for ends, too');
};


subtest 'an array' => sub {
    joined('ar', $ann, $bob);
    $ann->ok('lock', channel => 'ar', name => 'x');

    $bob->send_json([ { id => 'l', op => 'lock', channel => 'ar', name => 'x', wait => 9000 },
                      { id => 'p', op => 'ping' } ]);
    ok($bob->reply('p')->{ok}, 'the replies of the others come');
    $ann->ok('unlock', channel => 'ar', name => 'x');
    ok($bob->reply('l')->{ok}{token}, 'and then that of the wait, alone');
};


subtest 'lists' => sub {
    joined('li', $ann);
    my $ok = $ann->ok('lock', channel => 'li', name => "n$_", data => $_) for 1 .. 3;
    $ok = $ann->ok('lock', channel => 'li', name => 'n1');

    my $join = $bob->ok('join', channel => 'li');
    is(scalar @{ $join->{locks} }, 3, 'a join tells the locks');
    my ($n1) = grep { $_->{name} eq 'n1' } @{ $join->{locks} };
    is_deeply($n1, { name => 'n1', expires => $ok->{expires},
                     holder => { %{ person($ann, 'ann') }, data => 1 } }, 'as they are');

    $join = $ann->ok('join', channel => 'li', since =>
                     { epoch => $join->{epoch}, offset => $join->{offset} });
    ok($join->{recovered}, 'one that has missed nothing');
    ($n1) = grep { $_->{name} eq 'n1' } @{ $join->{locks} };
    is($n1->{token}, $ok->{token}, 'gets its own with their tokens');
    ok($n1->{mine}, 'which say so');

    is_deeply($bob->ok('get', channel => 'li', locks => \1)->{locks},
              [ map { { %$_{qw( name holder expires )} } } @{ $join->{locks} } ],
              'get tells them, too');

    my $reader = $nginx->native(worker => $two, path => '/reader');
    is(scalar @{ $reader->ok('join', channel => 'li', want => ['locks'])->{locks} }, 3,
       'who may join may see them');
    is(code($reader->cmd('lock', channel => 'li', name => 'y')), 'forbidden', 'but take none');
    like($reader->cmd('lock', channel => 'li', name => 'y')->{error}{message},
         qr/no "fanout_permit lock" allows/, 'for this reason');
    my $other = $nginx->native(worker => $two, path => '/reader');
    is($other->ok('join', channel => 'li', want => ['messages'])->{locks}, undef,
       'who does not want them has none');
    $reader->ok('join', channel => 'li');
    $ann->ok('unlock', channel => 'li', name => 'n2');
    is(told($reader, 'li')->{name}, 'n2', 'a reader is told');
    is_deeply([ grep { $_->{lock} } $other->drain ], [], 'another is not');
    is_deeply([ grep { $_->{name} eq 'n2' } @{ $bob->ok('join', channel => 'li')->{locks} } ],
              [], 'what has ended is in no list');

    is_deeply($ann->ok('history', channel => 'li')->{messages}, [], 'nor in the history');
    $_->disconnect for $reader, $other;
};


subtest 'many' => sub {
    my @ws = map { $nginx->native(worker => $one, path => '/realtime?user=u') } 1 .. 8;

    for my $ws (@ws) {
        joined('many', $ws);
        $ws->ok('lock', channel => 'many', name => $ws->client . "-$_", data => 'x' x 1000)
            for 1 .. 20;
    }

    my $reply = $bob->cmd('join', channel => 'many');
    my %all = map { $_->{name} => 1 }
              map { @{ $_->{locks} || [] } } @{ $reply->{part} }, $reply->{ok};
    is(scalar keys %all, 160, 'all of them, in parts');
    ok(scalar @{ $reply->{part} } > 2, 'that are not large');

    my $ok = $nginx->http->get('/realtime?poll=1&join=%7B%22channel%22%3A%22many%22%7D')->json;
    is(scalar @{ (grep { $_->{ok}{locks} } map { ref $_ eq 'ARRAY' ? @$_ : $_ } @$ok)[0]
                     {ok}{locks} }, 160, 'and in the answer of a poll');
    $_->disconnect for @ws;
};


subtest 'records' => sub {
    my %c = (channel => 'guarded:1');

    joined('guarded:1', $ann, $bob);
    $ann->ok('set', %c, record => 'r', set => { a => 1, b => 1 });

    my $field = $ann->ok('lock', %c, name => 'r.a')->{token};
    my $error = $bob->cmd('set', %c, record => 'r', set => { a => 2 })->{error};

    is($error->{code}, 'locked', 'a field of somebody else');
    is_deeply($error->{data}, { lock => 'r.a', holder => person($ann, 'ann') },
              'and which lock it is');
    is_deeply($nginx->native(path => '/nameless')
              ->cmd('set', %c, record => 'r', set => { a => 2 })->{error}{data},
              { lock => 'r.a', holder => { client => $ann->client } },
              'not whose, for those who may not know users');
    $bob->ok('set', %c, record => 'r', set => { b => 2 });
    is(code($bob->cmd('set', %c, record => 'r', set => { b => 3, a => 3 })), 'locked',
       'one of several');
    $ann->ok('set', %c, record => 'r', set => { a => 4 });

    my $whole = $bob->ok('lock', %c, name => 'r')->{token};
    is(code($ann->cmd('set', %c, record => 'r', set => { b => 5 })), 'locked', 'a record');
    is(code($ann->cmd('delete', %c, record => 'r')), 'locked', 'which nobody else deletes');

    is(code($bob->cmd('set', %c, record => 'r', set => { b => 6 }, token => $whole + 1)),
       'not_holder', 'a wrong token');
    $bob->ok('set', %c, record => 'r', set => { b => 6 }, token => $whole);
    $bob->ok('unlock', %c, name => 'r');
    is(code($bob->cmd('set', %c, record => 'r', set => { b => 7 }, token => $whole)),
       'not_holder', 'one of a lock that is over');

    is(code($bob->cmd('set', %c, record => 'r', set => { b => 8 }, release => 'r.a')),
       'not_holder', 'nobody else releases it');
    my $ok = $ann->ok('set', %c, record => 'r', set => { a => 9 }, release => 'r.a');
    ok($ok->{version}, 'a set that releases');
    my $lock;
    $lock = told($bob, 'guarded:1') for 1 .. 4;
    is_deeply($lock, { name => 'r.a', holder => undef, reason => 'released' }, 'is told');

    $whole = $ann->ok('lock', %c, name => 'r')->{token};
    is(code($ann->cmd('delete', %c, record => 'r', token => 1)), 'not_holder',
       'a delete with a wrong token');
    $ann->ok('delete', %c, record => 'r', token => $whole);
    $ann->ok('unlock', %c, name => 'r');

    my $writer = $nginx->native(worker => $one, path => '/writer');
    $ann->ok('lock', %c, name => 's');
    $error = $writer->cmd('set', %c, record => 's', set => { a => 1 })->{error};
    is($error->{code}, 'locked', 'who may not read is refused');
    is($error->{data}, undef, 'and not told by whom');
    $ann->ok('unlock', %c, name => 's');
    $writer->disconnect;

    $ann->ok('lock', channel => 'mixed:1', name => 'r')
        if $ann->ok('join', channel => 'mixed:1');
    $bob->ok('set', channel => 'mixed:1', record => 'r', set => { a => 1 });
    pass('without guard= a lock is only for those who ask');
};


subtest 'streams' => sub {
    my $stream = Fanout::Stream->new($nginx, '/realtime', worker => $two,
        query => 'user=eve&join=' . '%7B%22channel%22%3A%22st%22%7D');
    my %own = ('Content-Type' => 'application/json',
               'Fanout-Resume' => $stream->welcome->{resume});
    my $post = sub {
        my ($headers, %command) = @_;

        return $nginx->http->post('/realtime?user=eve',
                                  Fanout::JSON::encode({ id => 1, %command }),
                                  headers => $headers)->json;
    };

    my ($state) = grep { $_->{ok} && $_->{ok}{locks} }
                  map { ref $_ eq 'ARRAY' ? @$_ : $_ }
                  Fanout::JSON::decode($stream->next_event(5)->{data});
    is_deeply($state->{ok}{locks}, [], 'a stream gets the list');

    joined('st', $ann);
    my $ok = $post->(\%own, op => 'lock', channel => 'st', name => 'x')->{ok};
    ok($ok->{token}, 'a POST takes a lock for its stream');
    is(told($ann, 'st')->{holder}{client}, $stream->welcome->{client}, 'which holds it');
    is($stream->next_push(5)->{lock}{name}, 'x', 'and is told');
    is($post->(\%own, op => 'lock', channel => 'st', name => 'x')->{ok}{token},
       $ok->{token}, 'it may renew it');

    my $error = $post->(\%own, op => 'lock', channel => 'st', name => 'y', wait => 10)->{error};
    is($error->{code}, 'bad_request', 'but not wait');
    like($error->{message}, qr/a POST can't "wait"/, 'which the error says');
    is(code($post->({ 'Content-Type' => 'application/json' }, op => 'lock', channel => 'st',
                    name => 'z')), 'bad_request', 'without a token no lock');
    is(code($post->(\%own, op => 'lock', channel => 'elsewhere', name => 'x')), 'not_joined',
       'nor where it is not');
    ok($post->(\%own, op => 'get', channel => 'st', locks => \1)->{ok}{locks}[0]{mine},
       'a POST gets the list, too');
    is(code($post->(\%own, op => 'unlock', channel => 'st', name => 'x')), 'ok', 'and unlocks');

    my $join = $nginx->http(worker => $one);
    my $url = '/realtime?poll=1&join=%7B%22channel%22%3A%22st%22%7D';
    my $r = $join->get($url);
    my $since = $r->{headers}{'fanout-position'};
    $ann->ok('lock', channel => 'st', name => 'q');
    $r = $join->get("$url&since=$since");
    ok(grep({ $_->{lock} || ($_->{ok} && $_->{ok}{locks}[0]) }
            map { ref $_ eq 'ARRAY' ? @$_ : $_ } @{ $r->json }), 'a poll that goes on');
    $since = $r->{headers}{'fanout-position'};
    is_deeply($join->get("$url&since=$since&timeout=0")->json, [], 'and has it once');

    $r = $join->get("$url&session=1&user=eve", headers => { 'X-Requested-With' => 'x' });
    my ($welcome) = grep { $_ } map { ref $_ eq 'HASH' ? $_->{welcome} : () } @{ $r->json };

    $own{'Fanout-Resume'} = $welcome->{resume};
    is(code($post->(\%own, op => 'lock', channel => 'st', name => 'z')), 'not_joined',
       'between polls a client gets no lock');

    my $poll = $nginx->http(worker => $two);
    $poll->socket->send_bytes("GET $url&user=eve&timeout=9&since=$r->{headers}{'fanout-position'} HTTP/1.1\r\n"
                      . "Host: a\r\nX-Requested-With: x\r\n"
                      . "Fanout-Resume: $welcome->{resume}\r\n\r\n");
    ok(wait_for(sub { ($post->(\%own, op => 'lock', channel => 'st', name => 'z')->{ok}
                       || {})->{token} }, 5), 'while one is open it does');
    wait_for(sub { $nginx->http->get('/api/clients/' . $welcome->{client})->json->{pid} ? 0 : 1 },
             5);
    ok($post->(\%own, op => 'lock', channel => 'st', name => 'z')->{ok}{token},
       'and renews it afterwards');
    is(code($post->(\%own, op => 'unlock', channel => 'st', name => 'z')), 'ok', 'or unlocks');
    $stream->cut;
};


subtest 'a client that comes back' => sub {
    joined('back', $ann, $bob);

    my $eve = $nginx->native(worker => $two, path => '/realtime?user=eve');
    joined('back', $eve);
    my $token = $eve->ok('lock', channel => 'back', name => 'x')->{token};
    my $resume = $eve->resume;
    $eve->cut;
    is(code($bob->cmd('lock', channel => 'back', name => 'x')), 'locked', 'it lingers');
    $eve = $nginx->native(worker => $one, path => '/realtime?user=eve', resume => $resume);
    my ($lock) = @{ $eve->ok('join', channel => 'back')->{locks} };
    is($lock->{token}, $token, 'and still has its lock');
    ok($lock->{mine}, 'which says so');
    $eve->ok('unlock', channel => 'back', name => 'x', token => $token);

    is(code($ann->cmd('lock', channel => 'plain:1', name => 'x')), 'forbidden',
       'a channel without locks has none');
    is($ann->ok('join', channel => 'plain:1')->{locks}, undef, 'nor a list');
    is(code($ann->cmd('join', channel => 'plain:1', want => ['locks'])), 'forbidden',
       'nor for those who want it');
    is(code($ann->cmd('lock', channel => 'nowhere', name => 'x')), 'not_joined',
       'and none without a join');
};


subtest 'a reader that is behind' => sub {
    my $slow = $nginx->native(worker => $two, path => '/slow', rcvbuf => 4096);

    joined('behind', $slow, $ann);
    $ann->ok('publish', channel => 'behind', data => 'x' x 8000) for 1 .. 50;
    $ann->ok('lock', channel => 'behind', name => "n$_", data => 'x' x 900) for 1 .. 9;
    $ann->ok('unlock', channel => 'behind', name => "n$_") for 1 .. 8;
    $ann->ok('publish', channel => 'behind', data => 'x' x 8000) for 1 .. 300;

    my %seen;
    my $gap;

    wait_for(sub {
        for (grep { $_->{channel} eq 'behind' } $slow->drain) {
            $gap = $_->{gap} if $_->{gap} && ($_->{gap}{of} || '') eq 'locks';
            $seen{ $_->{lock}{name} } = $_->{lock} if $_->{lock};
        }
        $gap;
    }, 20);

    ok($gap, 'is told that it has missed changes');
    is_deeply([ map { $_->{name} }
                @{ $slow->ok('get', channel => 'behind', locks => \1)->{locks} } ], ['n9'],
              'and reads them again');
    $_->ok('leave', channel => 'behind') for $slow, $ann;
    $slow->disconnect;
};


subtest 'one reply before a close' => sub {
    joined('close', $ann);
    $ann->ok('lock', channel => 'close', name => 'x', ttl => 60000);

    my %close = (
        disconnect => sub { $nginx->http->delete('/api/clients/' . $_[0]->client) },
        replaced   => sub { $nginx->native(worker => $one, path => '/realtime?user=eve',
                                           resume => $_[0]->resume) },
        reload     => sub { $nginx->reload(wait_old => 1) },
    );

    for my $how (qw( disconnect replaced reload )) {
        my $eve = $nginx->native(worker => $two, path => '/realtime?user=eve');
        joined('close', $eve);
        my @id = map { $eve->send_cmd('lock', channel => 'close', name => 'x',
                                      wait => 60000) } 1, 2;
        $eve->ok('ping');
        my $other = $close{$how}->($eve);

        my %code = map { code($eve->reply($_, 10)) => 1 } @id;
        delete @code{qw( locked not_holder )};
        is_deeply([ keys %code ], [], "$how: each wait is answered");
        $eve->disconnect;
    }
};


subtest 'locks=off' => sub {
    my $http = $nginx->http;

    ($ann, $bob) = map { $nginx->native(path => "/realtime?user=$_") } qw( ann bob );
    joined('kept:1', $ann, $bob);

    my $held = $ann->ok('lock', channel => 'kept:1', name => 'x');

    $nginx->reload(http => <<'END', wait_old => 1);
        fanout_zone app 32m;
        fanout_rate off;
        fanout_budget off;
        fanout_channel app * linger=1m;
END

    $ann = $nginx->native(path => '/realtime?user=ann', resume => $ann->resume);
    $bob = $nginx->native(path => '/realtime?user=bob', resume => $bob->resume);
    joined('kept:1', $ann, $bob);

    is(code($ann->cmd('lock', channel => 'kept:1', name => 'x')), 'forbidden', 'no new lock');
    is(code($bob->cmd('unlock', channel => 'kept:1', name => 'x')), 'forbidden', 'for nobody');
    is_deeply($ann->ok('unlock', channel => 'kept:1', name => 'x', token => $held->{token}), {},
              'the holder can unlock what was locked before');
    is($http->get('/api/channels/kept:1/locks')->json->{error}{code}, 'forbidden', 'none is left');
};


$nginx->done_testing;
