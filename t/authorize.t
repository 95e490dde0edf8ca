#!/usr/bin/env perl

# fanout_authorize: a backend says who may do what. If this fails, somebody does
# what the backend has denied, or can't do what it permits; a command waits for a
# question that is not its own; or a backend that is slow, dead or mad lets
# somebody in, or takes others with it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Time::HiRes qw( sleep );

use Fanout::AuthorizeBackend;
use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Stream;


my $backend = Fanout::AuthorizeBackend->start;
my $port    = $backend->port;
my ($true, $false) = (Fanout::JSON::true, Fanout::JSON::false);

$backend->says;

my $nginx = Fanout::Nginx->start(
    workers => 2,
    http    => <<"END",
        fanout_zone app 8m;
        fanout_zone other 2m slots=8;
        fanout_channel app * history=10 presence=on locks=1m records=on
                           batch=10ms;
        fanout_resume 1m;
        fanout_budget off;
        fanout_rate   off;
        upstream judge { server 127.0.0.1:$port; keepalive 8; }
END
    server => <<'END',
        fanout_authorize /may join;

        location /fanout/ { fanout_api app; }
        location = /fanout-status { fanout_status app; }

        location = /may {
            internal;
            proxy_pass http://judge;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Address $remote_addr;
        }

        location /rt {
            fanout app;
            fanout_user   $arg_user;
            fanout_permit join,publish open;
            fanout_authorize /may all timeout=6s;
        }
        location /auto {
            fanout app;
            fanout_user $arg_user;
            fanout_autojoin auto;
            fanout_authorize /may join;
        }
        location /in {
            fanout app;
            fanout_user $arg_user;
            fanout_authorize /may connect timeout=20s;
        }
        location /strict {
            fanout app;
            fanout_user $arg_user;
            fanout_permit all *;
            fanout_authorize /may connect;
            fanout_budget address sessions=50/s burst=1s;
        }
        location /other {
            fanout other;
            fanout_user $arg_user;
        }
        location /here {
            fanout app;
            fanout_user $arg_user;
        }
        location /few {
            fanout app;
            fanout_user $arg_user;
            fanout_authorize /may join timeout=10s calls=2 queue=12;
        }
END
);

my $http = $nginx->http;

sub code { $_[0]{error} ? $_[0]{error}{code} : 'ok' }

# n replies in the order in which they come

sub replies {
    my ($s, $n, $timeout) = @_;

    my @replies;

    while (@replies < $n) {
        my $text = $s->recv_text($timeout || 20);
        last if !defined $text;

        my $frame = Fanout::JSON::decode($text);

        push @replies, grep { exists $_->{id} }
                       ref $frame eq 'ARRAY' ? @$frame : $frame;
    }

    return @replies;
}

sub connect_as {
    my ($user, %o) = @_;
    return $nginx->native(path => ($o{path} || '/rt') . "?user=$user");
}

sub counts {
    return $nginx->http->get('/fanout-status')->json->{counters};
}


# what is permitted without a question

my $ann = connect_as('ann');

is(code($ann->cmd('join', channel => 'open')), 'ok', 'a rule permits');
is_deeply([ grep { /^join/ } $backend->asked ], [],
          'and nobody is asked for that');


# asked for

$backend->says('join room' => [ 200 ], 'publish room' => [ 200, {} ],
               'presence room' => [ 200, '' ],
               'join told' => [ 200, { allow => $false,
                                       message => "not you, \"ann\"" } ],
               'join page' => [ 403, '<html>' ],
               'join login' => [ 401, { message => 'log in' } ]);
$backend->forget;

is(code($ann->cmd('join', channel => 'room')), 'ok', 'the backend permits it');
is(code($ann->cmd('publish', channel => 'room', data => 1)), 'ok',
   'another operation, too');

my @calls = $backend->calls;

is_deeply($calls[0], {
    zone => 'app', op => 'join', channel => 'room', user => 'ann',
    client => $ann->client, address => '127.0.0.1', transport => 'websocket',
}, 'it was asked for the join, with who and where');

is_deeply([ $backend->asked ],
          [ 'join room', 'presence room', 'profile room',
            'publish room' ],
          'and for what the join wants, and for the publish');

is(code($ann->cmd('join', channel => 'denied')), 'forbidden', 'denied');
is(code($ann->cmd('publish', channel => 'denied', data => 1)), 'forbidden',
   'likewise');

my $error = $ann->cmd('join', channel => 'told')->{error};

is($error->{message}, 'not you, "ann"', 'the reason comes from the backend');
is($error->{code}, 'forbidden', 'with 200 and "allow":false it is denied');

is($ann->cmd('join', channel => 'login')->{error}{message}, 'log in',
   'and with 401 by a message');
is(code($ann->cmd('join', channel => 'page')), 'forbidden',
   'a page of an error is none');


# headers of the handshake

$ann->cut;
$backend->forget;

my $with = $nginx->native(path => '/rt?user=cookie', headers => {
    Cookie => 'sid=1', 'X-Team' => 'red',
    Accept => 'text/*', 'Accept-Encoding' => 'gzip', Range => 'bytes=0-1',
    'If-None-Match' => 'x', 'User-Agent' => 'me',
});

is(code($with->cmd('join', channel => 'room')), 'ok', 'joins with headers');

my ($raw) = $backend->requests;

like($raw, qr/^Cookie: sid=1\r$/m, 'the backend gets the cookie');
like($raw, qr/^X-Team: red\r$/m, 'other headers');
like($raw, qr/^X-Address: 127\.0\.0\.1\r$/m, 'the location, the address');
unlike($raw, qr/^(?:Range|If-None-Match|Accept-Encoding|Sec-|Upgrade)/mi,
       'nothing of the handshake alone');
like($raw, qr/^User-Agent: nginx-fanout/m, 'and it is NGINX that asks');
is(() = $raw =~ /^Content-Type:/mg, 1, 'with one body');
$with->cut;


# answers that are kept

$backend->forget;
$ann = connect_as('ann');

is(code($ann->cmd('join', channel => 'room')), 'ok', 'joins again');
is_deeply([ $backend->asked ], [], 'which needs no question');
is(code($ann->cmd('join', channel => 'denied')), 'forbidden', 'nor a refusal');
is_deeply([ $backend->asked ], [], 'either');

my $bob = connect_as('bob');

is(code($bob->cmd('join', channel => 'room')), 'ok', 'another user');
is(scalar(grep { /^join/ } $backend->asked), 1, 'is asked for');
$bob->cut;

$backend->says('publish *' => [ 200, { ttl => 3000 } ],
               'join *' => [ 200, { ttl => 0 } ],
               'presence *' => [ 200, {} ]);
$backend->forget;

is(code($ann->cmd('publish', channel => 'short', data => 1)), 'ok', 'for 3 s');
is(code($ann->cmd('publish', channel => 'short', data => 1)), 'ok', 'likewise');
is(scalar($backend->asked), 1, 'one question');

sleep 3.5;

is(code($ann->cmd('publish', channel => 'short', data => 1)), 'ok', 'later');
is(scalar($backend->asked), 2, 'one more');

is(code($ann->cmd('join', channel => 'once')), 'ok', 'ttl 0 holds for a command');
is(code($ann->cmd('leave', channel => 'once')), 'ok', 'that is left');
is(code($ann->cmd('join', channel => 'once')), 'ok', 'joins once more');
is(scalar(grep { $_ eq 'join once' } $backend->asked), 2, 'with a question each');


# clients without a user: each is asked for

$backend->says('join *' => [ 200 ], 'publish *' => [ 200 ]);
$backend->forget;

my @nobody = map { connect_as('') } 1 .. 2;

for my $s (@nobody) {
    is(code($s->cmd('publish', channel => 'n', data => 1)), 'ok', 'nobody')
        for 1 .. 2;
}

is(scalar($backend->asked), 2, 'clients without a user share no answer');
ok(!defined(($backend->calls)[0]{user}), 'which the backend sees');
$_->cut for @nobody;


# what a grant of a join has more

$backend->says('join more' => [ 200, { ops => [ 'join', 'publish', 'history' ],
                                       ttl => 0 } ],
               'join less' => [ 200, { ops => [ 'publish' ] } ],
               'presence *' => [ 403 ]);
$backend->forget;

is(code($ann->cmd('join', channel => 'more', history => 2)), 'ok',
   'an answer grants more than was asked for');
is(code($ann->cmd('publish', channel => 'more', data => 1)), 'ok',
   'which holds as long as the join');
is_deeply([ grep { !/presence|profile/ } $backend->asked ], [ 'join more' ],
          'and is not asked for');
is(code($ann->cmd('record', channel => 'more')), 'unknown_op', 'no more');
is(code($ann->cmd('leave', channel => 'more')), 'ok', 'leaves');
is(code($ann->cmd('publish', channel => 'more', data => 1)), 'forbidden',
   'then it holds no more');
is(code($ann->cmd('join', channel => 'less')), 'forbidden',
   'and an answer without what was asked for denies it');


# a grant that ends

my $now = sub { my $t = $ann->ok('publish', channel => 'open', data => 1); $t->{time} };

$backend->says('join until' => [ 200, { expires => $now->() + 3000, ttl => 0 } ],
               'join past' => [ 200, { expires => $now->() - 1 } ],
               'presence *' => [ 403 ]);

is(code($ann->cmd('join', channel => 'until')), 'ok', 'joins for a while');
is(code($ann->cmd('join', channel => 'past')), 'forbidden', 'not for the past');

my $left = $ann->next_where(sub { $_[0]{left} }, 20);

is($left->{channel}, 'until', 'the join ends then');
is($left->{left}{reason}, 'forbidden', 'as it is no longer permitted');
is(code($ann->cmd('leave', channel => 'until')), 'not_joined', 'for good');


# order: commands on a channel wait for those before, and for no others

$backend->says('join slow' => [ 200, {}, wait => 'slow' ],
               'publish slow' => [ 200 ], 'join quick' => [ 200 ],
               'history *' => [ 200 ], 'presence *' => [ 200 ]);

$ann->send_json({ id => 'a', op => 'join', channel => 'slow' });
$ann->send_json({ id => 'b', op => 'publish', channel => 'slow', data => 'b' });
$ann->send_json([ { id => 'c', op => 'publish', channel => 'slow', data => 'c' },
                  { id => 'd', op => 'join', channel => 'quick' },
                  { id => 'e', op => 'publish', channel => 'open', data => 'e' } ]);

is_deeply([ map { "$_->{id} " . code($_) } replies($ann, 2) ],
          [ 'e ok', 'd ok' ],
          'on other channels commands run, those that are asked for, too');
is_deeply([ replies($ann, 1, 0.3) ], [], 'those on the channel wait');

$backend->let('slow');

my @order = replies($ann, 3);

is_deeply([ map { $_->{id} } @order ], [ 'a', 'b', 'c' ],
          'and go on in their order');
is_deeply([ map { code($_) } @order ], [ ('ok') x 3 ], 'all of them');

$backend->says('history open' => [ 200, {}, wait => 'rule' ]);
$ann->send_json({ id => 'h', op => 'history', channel => 'open' });
$ann->send_json({ id => 'p', op => 'publish', channel => 'open', data => 'p' });

is_deeply([ replies($ann, 1, 0.3) ], [],
          'what a rule permits waits behind what is asked for');
$backend->let('rule');
is_deeply([ map { $_->{id} } replies($ann, 2) ], [ 'h', 'p' ], 'and follows it');



# a backend that gives no valid answer: nobody gets in

my %bad = (
    500 => [ 500 ], 404 => [ 404, {} ], 302 => [ 302, {} ], 418 => [ 418 ],
    text => [ 200, 'ok' ], array => [ 200, '[]' ], cut => [ 200, '{"allow":' ],
    unknown => [ 200, { allowed => $true } ],
    twice => [ 200, '{"allow":true,"allow":true}' ],
    allow => [ 200, { allow => 1 } ],
    message => [ 200, { message => 'well' } ],
    ops => [ 200, { ops => 'join' } ], op => [ 200, { ops => [ 'joi' ] } ],
    ttl => [ 200, { ttl => -1 } ], long => [ 200, { ttl => 86400001 } ],
    expires => [ 200, { expires => 'now' } ],
    huge => [ 200, { message => 'x' x (1024 * 1024) } ],
    deep => [ 200, ('[' x 1000) . (']' x 1000) ],
    utf8 => [ 200, "{\"message\":\"\xff\"}" ],
    closed => [ 200, {}, close => 1 ],
    hangs => [ 200, {}, wait => 'never' ],
);

$backend->says('presence *' => [ 403 ],
               map { ("join bad-$_" => $bad{$_}) } keys %bad);

my %open;

for my $name (sort keys %bad) {
    $open{ $ann->send_cmd('join', channel => "bad-$name") } = $name;
}

for my $id (sort { $a <=> $b } keys %open) {
    my $reply = $ann->reply($id, 30);

    is(code($reply), 'unavailable', "no valid answer: $open{$id}");
    is($reply->{error}{data}{retry_after}, 1000, 'try again later');
}

$nginx->allow(qr/upstream|gave no valid answer/);
like($nginx->log, qr/fanout_authorize "\/may" gave no valid answer/, 'is logged');

$backend->says('join bad-text' => [ 200 ], 'presence *' => [ 403 ]);
sleep 1.1;
is(code($ann->cmd('join', channel => 'bad-text')), 'ok', 'later it is asked again');


# no backend at all, then one again

$backend->stop;
is(code($ann->cmd('join', channel => 'gone')), 'unavailable', 'a backend that is gone');
is(code($ann->cmd('publish', channel => 'open', data => 1)), 'ok',
   'stops nobody where a rule permits it');
$backend->begin;
$backend->says('join gone' => [ 200 ], 'presence *' => [ 403 ]);
sleep 1.1;
is(code($ann->cmd('join', channel => 'gone')), 'ok', 'and back');


# event streams, polls, POST

$backend->says('join room' => [ 200 ], 'presence room' => [ 200 ],
               'history room' => [ 200 ], 'publish room' => [ 200, { ttl => 0 } ],
               'join told' => [ 200, { allow => $false, message => 'no' } ],
               'join bad' => [ 500 ]);
$backend->forget;

sub get {
    my ($transport, $path, $query) = @_;

    if ($transport eq 'poll') {
        return $http->get("$path?poll=1&timeout=0&$query");
    }

    my $s = eval { Fanout::Stream->new($nginx, $path, query => $query) };

    return $s ? { status => 200, stream => $s }
              : { status => ($@ =~ /no stream: (\d+)/)[0] };
}

for my $by (qw( sse poll )) {
    my $user = "user=u-$by";

    is(get($by, '/rt', "$user&channel=room")->{status}, 200, "$by: permitted");
    is(get($by, '/rt', "$user&channel=told")->{status}, 403, "$by: denied");
    is(get($by, '/rt', "$user&channel=room&channel=told")->{status}, 403,
       "$by: one of two is denied");
    is(get($by, '/rt', "$user&channel=open")->{status}, 200,
       "$by: a rule permits");
    is(get($by, '/rt', "$user&channel=room&history=3")->{status}, 200,
       "$by: with history");
    is(get($by, '/rt', "channel=room")->{status}, 200, "$by: without a user");
}

cmp_ok((grep { $_ eq 'join room' } $backend->asked) + 0, '<=', 6,
       'a user is asked for once in each worker');

my $r = $http->get('/rt?channel=bad&user=x',
                   headers => { Accept => 'text/event-stream' });

like($r->{body}, qr/fanout_authorize/, 'a stream is told that there is no answer');

$r = $http->get('/rt?poll=1&channel=bad&user=x');

is($r->{status}, 503, 'a poll gets 503');
ok($r->{headers}{'retry-after'}, 'without an answer, try again later');
like($r->{body}, qr/fanout_authorize/, 'and which directive it was');

my $stream = get('sse', '/rt', 'user=eve&channel=room')->{stream};

is(code(Fanout::JSON::decode($http->post('/rt?user=eve',
       Fanout::JSON::encode({ id => 1, op => 'publish', channel => 'room',
                              data => 'by post' }),
       headers => { 'Content-Type' => 'application/json' })->{body})), 'ok',
   'post: permitted');
is($stream->next_push->{data}, 'by post', 'it is told to the stream');

$r = $http->post('/rt?user=eve', Fanout::JSON::encode([
    { id => 1, op => 'publish', channel => 'told', data => 1 },
    { id => 2, op => 'publish', channel => 'open', data => 1 },
    { id => 3, op => 'publish', channel => 'room', data => 1 },
]), headers => { 'Content-Type' => 'application/json' });

is_deeply([ map { "$_->{id} " . code($_) }
            sort { $a->{id} <=> $b->{id} } @{ Fanout::JSON::decode($r->{body}) } ],
          [ '1 forbidden', '2 ok', '3 ok' ],
          'post: an array has all its replies');

$r = $http->post('/rt?user=eve', Fanout::JSON::encode(
         { id => 1, op => 'publish', channel => 'told', data => 1 }),
     headers => { 'Content-Type' => 'application/json' });
is($r->{status}, 403, 'post: denied');
$stream->cut;


$ann->cut;

# all operations, each by its own question

my %op = (
    join     => [ 'join' ],
    publish  => [ 'publish', data => 1 ],
    history  => [ 'history' ],
    presence => [ 'presence', data => 1 ],
    signal   => [ 'signal', event => 'e', data => 1 ],
    record   => [ 'set', record => 'r', set => { a => 1 } ],
    lock     => [ 'lock', name => 'l' ],
);

for my $op (sort keys %op) {
    my ($command, %members) = @{ $op{$op} };
    my @needs = $op eq 'presence' || $op eq 'lock' ? ("join $op-yes" => [ 200 ]) : ();

    $backend->says("$op $op-yes" => [ 200 ], @needs, map { ("$_ all-but" => [ 200 ]) } grep { $_ ne $op } keys %op);

    my $s = connect_as("op-$op");

    if (@needs) {
        is(code($s->cmd('join', channel => "$op-yes")), 'ok', "$op: joins");
        is(code($s->cmd('join', channel => 'all-but')), 'ok', "$op: joins");
    }

    is(code($s->cmd($command, channel => "$op-yes", %members)), 'ok',
       "$op: permitted");
    is(code($s->cmd($command, channel => 'all-but', %members)), 'forbidden',
       "$op: not by what permits all others");
    $s->cut;
}


# options of a join need permissions of their own

$backend->says('join a' => [ 200 ], 'history a' => [ 200 ], 'presence a' => [ 200 ],
               'join b' => [ 200 ], 'join c' => [ 200 ], 'history c' => [ 500 ]);

my $opt = connect_as('opt');

is(code($opt->cmd('join', channel => 'a', history => 3, presence => { x => 1 })),
   'ok', 'history and presence are asked for, one after another');
is(code($opt->cmd('join', channel => 'b', history => 3)), 'forbidden',
   'without history');
is(code($opt->cmd('join', channel => 'b', presence => { x => 1 })), 'forbidden',
   'without presence');
ok(!defined $opt->ok('join', channel => 'b')->{members}, 'a join with less');
is(code($opt->cmd('join', channel => 'c', history => 3)), 'unavailable',
   'no answer for history');
$opt->cut;


# an autojoin is asked for, too

$backend->says('join auto' => [ 200 ], 'presence *' => [ 403 ]);

my $auto = connect_as('auto', path => '/auto');
my $push = $auto->next_where(sub { $_[0]{ok} || $_[0]{error} }, 20);

is($push->{ok}{channel}, 'auto', 'autojoin: permitted');
is(get($_, '/auto', 'user=auto')->{status}, 200, "autojoin by $_")
    for qw( sse poll );
$auto->cut;


# coming back: the seat is kept until the backend has said no

$backend->says('join seat' => [ 200, { ttl => 0 } ], 'presence seat' => [ 200 ]);

my $seat = connect_as('seat');
my $see  = connect_as('see');

$seat->ok('join', channel => 'seat', presence => { n => 1 });
is(scalar @{ $see->ok('join', channel => 'seat')->{members} }, 1, 'a member');

my $token = $seat->resume;

$seat->cut;
$seat = $nginx->native(path => '/rt?user=seat', resume => $token);

ok($seat->welcome->{resumed}, 'the client comes back');
$seat->ok('join', channel => 'seat', presence => { n => 1 });
ok(!(grep { $_->{presence}{leave} } $see->drain), 'and has not left');
$_->cut for $seat, $see;


# commands that wait end with their session

$backend->says('join held' => [ 200, {}, wait => 'held' ], 'presence *' => [ 403 ]);

my $gone = connect_as('gone');

$gone->send_cmd('join', channel => "held") for 1 .. 5;
Fanout::Nginx::wait_for(sub { grep { $_ eq 'join held' } $backend->asked });
$gone->cut;

my $closing = connect_as('closing');
my $id = $closing->send_cmd('join', channel => 'held');

Fanout::Nginx::wait_for(sub { grep { ($_->{user} // '') eq 'closing' } $backend->calls });
$closing->send_close(1000);
$closing->wait_close;
is($closing->close_code, 1000, 'a close is answered');

my @streams = map {
    my $c = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                  PeerPort => $nginx->port) or die "$!";
    print $c "GET /rt?user=s$_&channel=held&poll=1 HTTP/1.1\r\nHost: a\r\n\r\n";
    $c;
} 1 .. 3;

Fanout::Nginx::wait_for(sub { grep { ($_->{user} // '') eq 's3' } $backend->calls });
$_->close for @streams;

$backend->let('held');


# the questions of one user leave room for others

$backend->says('join *' => [ 200, {}, wait => 'crowd' ], 'presence *' => [ 403 ]);

my $many = connect_as('many', path => '/few');
my %asked = map { $many->send_cmd('join', channel => "m$_") => 1 } 1 .. 20;

my @refused = replies($many, 12);

is_deeply([ map { code($_) } @refused ], [ ('unavailable') x 12 ],
          'one user has a share of the questions');

my $other = connect_as('other', path => '/few');
my $o = $other->send_cmd('join', channel => 'o');

is_deeply([ replies($other, 1, 0.3) ], [], 'another one waits');
$backend->let('crowd');
is(code($other->reply($o)), 'ok', 'and gets in');
is_deeply([ map { code($_) } replies($many, 8) ], [ ('ok') x 8 ],
          'as do those that waited');
$_->cut for $many, $other;


# too many commands that wait

$backend->says('join *' => [ 200, {}, wait => 'park' ], 'presence *' => [ 403 ]);

my $park = connect_as('park');

$park->send_cmd('join', channel => 'parked') for 1 .. 300;
@refused = replies($park, 44);
is(scalar(grep { code($_) eq 'unavailable' } @refused), 44,
   'a session may have 256 commands that wait');
$backend->let('park');
is(scalar(grep { code($_) eq 'ok' } replies($park, 256)), 256, 'which all go on');
$park->cut;


# who is shut out while a question is open does not get in

$backend->says('join *' => [ 200, {}, wait => 'shut' ], 'presence *' => [ 403 ],
               'profile *' => [ 403 ]);

my $shut = connect_as('shut');

$shut->send_cmd('join', channel => 'shut');
Fanout::Nginx::wait_for(sub { grep { $_ eq 'join shut' } $backend->asked });
is($http->put('/fanout/denials/user:shut?for=60000', '')->{status} < 300, 1, 'shut out');
$shut->wait_close;
is($shut->close_code, 4403, 'at once');
$backend->let('shut');
is($http->get('/fanout/channels/shut')->{status}, 404, 'and nobody has joined');
$http->delete('/fanout/denials/user:shut');


# a worker that dies, and a reload

$backend->says('join *' => [ 200, {}, wait => 'die' ], 'presence *' => [ 403 ]);

my $dies = connect_as('dies');

$dies->send_cmd('join', channel => 'dying');
Fanout::Nginx::wait_for(sub { grep { $_ eq 'join dying' } $backend->asked });
$nginx->kill_worker($nginx->worker_of($dies));
ok(Fanout::Nginx::wait_for(sub { $dies->drain; $dies->eof }), 'a worker dies');

my $drains = connect_as('drains');

$id = $drains->send_cmd('join', channel => 'draining');
Fanout::Nginx::wait_for(sub { grep { $_ eq 'join draining' } $backend->asked });
my @old = $nginx->worker_pids;
$nginx->reload;
ok(Fanout::Nginx::wait_for(sub { $drains->drain; defined $drains->close_code
                                                 || $drains->eof }, 30),
   'a worker drains, whatever waits');
$backend->let('die');
$drains->cut;
ok($nginx->wait_gone(20, @old), 'and exits');


# connect: who may, and as whom

$backend->says('connect *' => [ 200, {
    user => 'ann b', info => { name => 'Ann' }, join => [ 'hers' ],
    permit => { 'join,publish' => [ 'a:*', 'hers' ], all => [ 'b' ] },
} ]);
$backend->forget;

my %in = (
    websocket => sub {
        my ($path) = @_;
        my $s = $nginx->native(path => $path, headers => { Cookie => 'sid=7' });
        return { status => $s->status, s => $s };
    },
    sse => sub { get('sse', $_[0], 'channel=a:1') },
    poll => sub { get('poll', $_[0], 'channel=a:1') },
    post => sub {
        my $r = $http->post($_[0], '{"id":1,"op":"publish","channel":"a:1","data":1}',
                            headers => { 'Content-Type' => 'application/json' });
        return { status => $r->{status} };
    },
);

is($in{$_}->('/in')->{status}, $_ eq 'websocket' ? 101 : 200, "connect by $_")
    for sort keys %in;
is(scalar($backend->asked), 4, 'each was asked for');

my $in = $in{websocket}->('/in')->{s};

is($in->welcome->{user}, 'ann b', 'the user is whom the backend says');
is($in->next_where(sub { $_[0]{ok} }, 20)->{ok}{channel}, 'hers',
   'joined where it says');
is(code($in->cmd('publish', channel => 'a:2', data => 1)), 'ok', 'its permissions');
is(code($in->cmd('join', channel => 'b', presence => {})), 'ok', 'of all kinds');
is(code($in->cmd('publish', channel => 'c', data => 1)), 'forbidden', 'and no more');
is(code($in->cmd('history', channel => 'a:2')), 'forbidden', 'of each kind');
is($http->get('/fanout/channels/b/presence')->json->{members}[0]{info}{name}, 'Ann',
   'its profile');
is(($backend->calls)[0]{op}, 'connect', 'the question');
like(($backend->requests)[-1], qr/^Cookie: sid=7\r$/m, 'with its cookie');
$in->cut;

for my $answer ([ denied => 403, 403 ], [ broken => 503, 500 ],
                [ ops => 503, 200, { ops => [ 'join' ] } ],
                [ user => 503, 200, { user => '' } ],
                [ info => 503, 200, { info => 'x' } ],
                [ permit => 503, 200, { permit => { joins => [ 'a' ] } } ],
                [ pattern => 503, 200, { permit => { join => 'a' } } ],
                [ join => 503, 200, { join => [ "a\nb" ] } ],
                [ 'no channel' => 503, 200, { join => [ { presence => {} } ] } ],
                [ 'join of more' => 503, 200,
                  { join => [ { channel => 'a', history => 1 } ] } ],
                [ 'large presence' => 503, 200,
                  { join => [ { channel => 'a', presence => { x => 'y' x 8200 } } ] } ])
{
    my ($name, $status, @answer) = @$answer;

    $backend->says('connect *' => \@answer);

    is($in{$_}->('/in')->{status} || 200, $status, "$name: not by $_")
        for 'poll', 'post';
    ok(!eval { $nginx->ws(path => '/in') }, "$name: not by websocket");
    like($@, qr/the handshake got $status/, 'with that status');
}

# members by what connect says: of sessions only

$backend->says('connect *' => [ 200, {
    user => 'ann b', join => [ { channel => 'seats', presence => { seat => 'A "4"' } } ],
    permit => { all => [ '*' ] },
} ]);

sub seats {
    return [ map { $_->{data} }
             @{ $http->get('/fanout/channels/seats/presence')->json->{members} } ];
}

is($in{poll}->('/in')->{status}, 200, 'a poll');
is_deeply(seats(), [], 'is no member');
$in = $in{websocket}->('/in')->{s};
$in->next_where(sub { $_[0]{ok} }, 20);
is_deeply(seats(), [ { seat => 'A "4"' } ], 'a WebSocket is one');
$in->cmd('leave', channel => 'seats');
ok(Fanout::Nginx::wait_for(sub { !@{ seats() } }), 'until it leaves');

{
    my $s = Fanout::Stream->new($nginx, '/in', query => 'channel=a:1');
    Fanout::Nginx::wait_for(sub { @{ seats() } });
    is_deeply(seats(), [ { seat => 'A "4"' } ], 'an event stream too');
    $s->cut;
}

$in->cut;

$backend->says('connect *' => [ 200, { expires => time() * 1000 + 5000,
                                       permit => { join => [ '*' ] } } ]);
$in = $in{websocket}->('/in')->{s};
ok($in->welcome->{expires}, 'a session has the end of its answer');
$in->wait_close(30);
is($in->close_code, 4401, 'and ends then');

# kept for a user that is known before, if the answer says so

$backend->says('connect *' => [ 200, { ttl => 60000, permit => { all => [ '*' ] } } ]);
$backend->forget;
is($http->post('/in?user=kept', '{"id":1,"op":"publish","channel":"a","data":1}',
               headers => { 'Content-Type' => 'application/json' })->{status}, 200,
   'post') for 1 .. 5;
cmp_ok(scalar($backend->asked), '<=', 2,
       'with a ttl and a user one answer serves a worker');

$backend->says('connect *' => [ 200, {}, wait => 'gate' ]);

@streams = map {
    my $c = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                  PeerPort => $nginx->port) or die "$!";
    print $c "GET /in?user=g$_&channel=held&poll=1 HTTP/1.1\r\nHost: a\r\n\r\n";
    $c;
} 1 .. 3;
Fanout::Nginx::wait_for(sub { grep { ($_->{user} // '') eq 'g3' } $backend->calls });
$_->close for @streams;
$backend->let('gate');


# an answer is of its zone, also if the directive is of the server

$backend->says('join *' => [ 200, { ttl => 60000 } ]);
$backend->forget;

my ($one) = $nginx->worker_pids;

for my $path ('/here', '/other', '/here', '/other') {
    my $s = $nginx->native(worker => $one, path => "$path?user=zones");
    is(code($s->cmd('join', channel => 'same')), 'ok', "joins at $path");
    $s->cut;
}

# the streams above may have gone on to their channel before they were seen to go
is_deeply([ map { $_->{zone} }
            grep { ($_->{user} // '') eq 'zones' } $backend->calls ],
          [ 'app', 'other' ], 'each zone is asked for, once');


# the data of members comes from the backend

{
    my %team = (presence => { team => 'red' });

    $backend->says('join m:1' => [ 200, { %team, ops => [ 'join', 'presence' ] } ],
                   'join m:2' => [ 200, { %team, ops => [ 'join', 'presence' ] } ],
                   'join p:1' => [ 200 ], 'presence p:1' => [ 200, { %team } ],
                   'join none:1' => [ 200, { presence => {}, ops => [ 'join', 'presence' ] } ],
                   'join null:1' => [ 200, { presence => undef } ],
                   'join own:1' => [ 200, { ops => [ 'join', 'presence' ] } ],
                   'join long:1' => [ 200, { presence => 'x' x 5000 } ],
                   'publish m:1' => [ 200, { %team } ], 'profile *' => [ 403 ]);

    my $mia = connect_as('mia');
    my $data = sub {
        my ($channel) = @_;
        my ($m) = @{ $mia->ok('members', channel => $channel)->{members} };
        return Fanout::JSON::encode($m->{data});
    };

    for my $channel ('m:1', 'p:1') {
        is(code($mia->cmd('join', channel => $channel, presence => { team => 'blue' })),
           'ok', "$channel: joins");
        is($data->($channel), '{"team":"red"}', 'with the data of the backend');
        $mia->ok('presence', channel => $channel, data => { team => 'blue' });
        $mia->ok('presence', channel => $channel, data => { x => 1 }, merge => $true);
        is($data->($channel), '{"team":"red"}', 'and keeps it');
    }

    $mia->ok('join', channel => 'none:1', presence => { team => 'blue' });
    is($data->('none:1'), 'null', 'none at all');
    $mia->ok('join', channel => 'own:1', presence => { team => 'blue' });
    is($data->('own:1'), '{"team":"blue"}', 'without any, its own');
    is(code($mia->cmd('join', channel => $_)), 'unavailable', "no answer: $_")
        for 'null:1', 'long:1';
    is(code($mia->cmd('publish', channel => 'm:1', data => 1)), 'unavailable',
       'nor of another operation');

    my $sse = Fanout::Stream->new($nginx, '/rt', query => 'user=ned&join='
        . '%7B%22channel%22:%22m:2%22,%22presence%22:%7B%22team%22:%22blue%22%7D%7D',
        headers => { 'X-Requested-With' => 'x' });

    my $ned = Fanout::Nginx::wait_for(sub {
        return $http->get('/fanout/channels/m:2/presence')->json->{members}[0];
    });

    is(Fanout::JSON::encode($ned->{data}), '{"team":"red"}', 'by a stream');
}


# who may not connect does not get in when his address has used up its sessions

$backend->says('connect *' => [ 403 ]);

my %status;
$status{ $http->post('/strict?user=eve',
             '{"id":1,"op":"publish","channel":"strict","data":1}',
             headers => { 'Content-Type' => 'application/json' })->{status} }++
    for 1 .. 600;
$status{ $http->get('/strict?user=eve&channel=strict&poll=1&timeout=0')->{status} }++
    for 1 .. 10;

ok($status{403}, 'denied');
ok(!(grep { $_ != 403 && $_ != 429 } keys %status), 'or too often')
    or diag(join ' ', %status);
is($http->get('/fanout/channels/strict')->{status}, 404, 'and nothing is published');


# a request that is refused is not gone on with when its questions are answered

$backend->says('join *' => [ 200, {}, wait => 'late' ]);

my $c = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $nginx->port)
    or die "$!";

print $c "GET /few?user=late&poll=1&" . join('&', map { "channel=l$_" } 1 .. 12)
         . " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nxx";
like(scalar readline $c, qr/ 503 /, 'too many questions of one request');
Fanout::Nginx::wait_for(sub { (grep { ($_->{user} // '') eq 'late' } $backend->calls) >= 2 });
$backend->let('late');
sleep 0.5;
$c->close;


my $counters = counts();

cmp_ok($counters->{authorize_calls}, '>', 50, 'questions are counted');
cmp_ok($counters->{authorize_denied}, '>', 5, 'refusals');
cmp_ok($counters->{authorize_failures}, '>', 20, 'and failures');

$nginx->done_testing;
