#!/usr/bin/env perl

# Subscription tokens: a token that names a channel lets its user join that one,
# for a time. If this fails, a token opens another channel, is good for another
# user or for a session, outlives its end or its revocation, is seen in a log, or
# lets a client make the server verify more than it may.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw( sleep );

use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::JWT;
use Fanout::Nginx;
use Fanout::Stream;


my $secret = 'a secret that only the backend knows';
my $jwt    = "fanout_jwt 'secret=$secret' audience=rt channel=channel leeway=0";

my $nginx = Fanout::Nginx->start(
    workers => 2,
    http    => <<'END',
        fanout_zone app 8m;
        fanout_channel app * history=10 presence=on locks=1m batch=10ms;
        fanout_resume 1m;
        fanout_budget off;
        fanout_rate   off;
        log_format all '$request $request_uri $args $status';
END
    server => <<"END",
        access_log %%DIR%%/access.log all;
        fanout_log %%DIR%%/fanout.log events=deny;
        location /fanout/ { fanout_api app; }
        location = /fanout-status { fanout_status app; }
        location /rt {
            fanout app;
            $jwt from=header from=subprotocol;
            fanout_user   \$fanout_claim_sub;
            fanout_permit join,publish open:*;
        }
        location /any {
            fanout app;
            $jwt token=optional;
            fanout_user \$arg_user;
        }
        location /off {
            fanout app;
            fanout_jwt 'secret=$secret' token=optional;
            fanout_user   \$arg_user;
            fanout_permit join open:*;
        }
        location /plain { fanout app; fanout_permit join open:*; }
        location /rated {
            fanout app;
            $jwt token=optional;
            fanout_user \$arg_user;
            fanout_rate 10r/s burst=100;
        }
        location /soon {
            fanout app;
            $jwt token=optional;
            fanout_user \$arg_user;
            fanout_expiring 1m;
        }
        location /first {
            fanout app;
            $jwt from=command;
            fanout_user \$fanout_claim_sub;
        }
END
);

my $http = $nginx->http;

sub token {
    my ($sub, %claims) = @_;

    return Fanout::JWT::sign('HS256', $secret, {
        aud => 'rt', (defined $sub ? (sub => $sub) : ()), %claims });
}

sub ticket { my ($sub, $channel, %c) = @_; token($sub, channel => $channel, %c) }

sub connect_as {
    my ($user, %o) = @_;
    return $nginx->native(path => '/rt', token => token($user), %o);
}

sub code    { $_[0]{error} ? $_[0]{error}{code} : 'ok' }
sub message { $_[0]{error} ? $_[0]{error}{message} : 'ok' }

sub counters { $http->get('/fanout-status')->json->{counters} }

sub removed {
    my ($s, $channel, $timeout) = @_;
    my $push = $s->next_where(sub {
        $_[0]{left} && $_[0]{channel} eq $channel
    }, $timeout || 10);
    return $push && $push->{left}{reason};
}


subtest 'a join' => sub {
    my $ann = connect_as('ann');

    is(code($ann->cmd('join', channel => 'room:1')), 'forbidden', 'without one');

    my $end = CORE::time() + 600;
    my $ok  = $ann->cmd('join', channel => 'room:1',
                        token => ticket('ann', 'room:1', exp => $end));

    is(code($ok), 'ok', 'with one');
    is($ok->{ok}{expires}, $end * 1000, 'its end is told');

    $http->post('/fanout/channels/room:1/messages', '1');
    is($ann->next_push->{data}, 1, 'it gets what is published');

    is(code($ann->cmd('publish', channel => 'room:1', data => 1)), 'forbidden',
       'it grants the join alone');
    is(code($ann->cmd('history', channel => 'room:1')), 'forbidden', 'likewise');
    is(code($ann->cmd('join', channel => 'room:2')), 'forbidden',
       'no other channel');

    is(code($ann->cmd('join', channel => 'room:1')), 'ok',
       'again, while it holds');
    is(code($ann->cmd('leave', channel => 'room:1')), 'ok', 'it leaves');
    is(code($ann->cmd('join', channel => 'room:1')), 'forbidden',
       'and needs another token');

    my $with = ticket('ann', 'room:3', ops => [qw( join publish history presence )]);

    is(code($ann->cmd('join', channel => 'room:3', history => 1,
                      presence => { x => 1 }, token => $with)),
       'ok', 'with "ops"');
    is(code($ann->cmd('publish', channel => 'room:3', data => 2)), 'ok', 'publish');
    is(code($ann->cmd('history', channel => 'room:3')), 'ok', 'history');
    is(code($ann->cmd('lock', channel => 'room:3', name => 'l')), 'forbidden',
       'not what is not named');
    is(code($ann->cmd('join', channel => 'room:4',
                      token => ticket('ann', 'room:4', ops => [ 'publish' ]))),
       'forbidden', 'nor a join without that');
    is(code($ann->cmd('join', channel => 'open:1',
                      token => ticket('ann', 'open:1', ops => [ 'history' ]))),
       'ok', 'which a rule may permit');
    is(code($ann->cmd('history', channel => 'open:1')), 'ok', 'and both count');

    my @replies = $ann->batch(
        { op => 'join', channel => 'a', token => ticket('ann', 'a') },
        { op => 'join', channel => 'b', token => ticket('ann', 'a') },
        { op => 'join', channel => 'c', token => ticket('ann', 'c') },
        { op => 'join', channel => 'd' });

    is(join(' ', map { code($_) } @replies), 'ok forbidden ok forbidden',
       'in an array, each has its own');
};


subtest 'whose it is' => sub {
    my $ann = connect_as('ann');
    my $any = $nginx->native(path => '/any');
    my $bob = $nginx->native(path => '/any?user=bob');

    my $try = sub {
        my ($s, $token, $channel) = @_;
        my $reply = $s->cmd('join', channel => $channel || 'room', token => $token);
        return code($reply) . ': ' . message($reply);
    };

    like($try->($ann, ticket('bob', 'room')), qr/^forbidden: .*another user/,
         'of another user');
    like($try->($ann, ticket(undef, 'room')), qr/^forbidden: .*another user/,
         'of nobody, for a user');
    like($try->($ann, ticket('', 'room')), qr/^forbidden: .*another user/, 'of ""');
    like($try->($any, ticket('ann', 'room')), qr/^forbidden: .*another user/,
         'of a user, for nobody');
    like($try->($any, ticket(undef, 'room')), qr/^ok/, 'of nobody, for nobody');
    like($try->($bob, ticket('bob', 'room')), qr/^ok/,
         'of a user who has no token of a session');
    like($try->($ann, ticket('ann', 'other')), qr/^forbidden: .*another channel/,
         'for another channel');
    like($try->($ann, ticket('ann', '*'), 'room'), qr/^unauthorized: .*no name/,
         'for a pattern');
    like($try->($ann, ticket('ann', 'room:*'), 'room:1'), qr/^unauthorized/,
         'likewise');

    like($try->($ann, token('ann')), qr/^unauthorized: .*for no channel/,
         'that of a session');

    for my $jti ('x' x 256, 7, '') {
        ok(!eval { $nginx->native(path => '/rt', timeout => 5,
                                  token => token('ann', jti => $jti)) },
           'nor one that could not be revoked');
    }

    for my $location ('/rt', '/any', '/first') {
        my $ws = eval { $nginx->native(path => $location, timeout => 5,
                                       token => ticket('ann', 'room')) };
        ok(!$ws, "one of a channel begins no session: $location");
    }

    my $response = $http->get('/rt?poll=1&channel=open:1', headers => {
        Authorization => 'Bearer ' . ticket('ann', 'open:1') });

    is($response->{status}, 401, 'by a poll, 401');
    like($response->{body}, qr/for a channel, not for a session/, 'and why');

    my $first = $nginx->ws(path => '/first', subprotocols => [ 'fanout.v1' ]);

    $first->send_text(Fanout::JSON::encode({ id => 1, op => 'auth',
                                             token => ticket('ann', 'room') }));
    like($first->recv_text, qr/"unauthorized".*for a channel/, 'nor as the first command');
    $first->send_text(Fanout::JSON::encode({ op => 'join', channel => 'room',
                                             token => ticket(undef, 'room') }));
    like($first->recv_text, qr/"unauthorized"/, 'nobody joins before it');

    is(code($ann->cmd('auth', token => ticket('ann', 'room'))), 'unauthorized',
       'nor does it renew one');
    is(code($ann->cmd('join', channel => 'room')), 'forbidden', 'or join');

    is(message($nginx->native(path => '/off')->cmd('join', channel => 'open:1',
                                                   token => ticket(undef, 'open:1'))),
       'no tokens of channels are read here: "fanout_jwt channel="',
       'where they are not read');
};


subtest 'what is no token' => sub {
    my $ann = connect_as('ann');
    my $now = CORE::time();
    my $good = ticket('ann', 'room');
    my ($head, $body, $signature) = split /\./, $good;
    my $other = (split /\./, ticket('ann', 'room', x => 1))[1];
    my $none = Fanout::JWT::base64url('{"alg":"none","typ":"JWT"}');

    my %tokens = (
        'expired'             => ticket('ann', 'room', exp => $now - 1),
        'without an end'      => ticket('ann', 'room', exp => undef),
        'not yet'             => ticket('ann', 'room', nbf => $now + 600),
        'another audience'    => ticket('ann', 'room', aud => 'x'),
        'no audience'         => ticket('ann', 'room', aud => undef),
        'another key'         => Fanout::JWT::sign('HS256', "$secret.", {
                                     aud => 'rt', sub => 'ann', channel => 'room' }),
        'none'                => "$none.$body.",
        'none, signed'        => "$none.$body.$signature",
        'changed'             => "$head.$other.$signature",
        'truncated'           => substr($good, 0, -1),
        'two parts'           => "$head.$body",
        'no text'             => "x\x01\x{e9}",
        'channel twice'       => Fanout::JWT::sign('HS256', $secret,
            qq({"aud":"rt","sub":"ann","exp":9999999999,"channel":"room","channel":"room"})),
        'channel twice, once escaped' => Fanout::JWT::sign('HS256', $secret,
            qq({"aud":"rt","sub":"ann","exp":9999999999,"channel":"room","\\u0063hannel":"x"})),
        'channel a number'    => ticket('ann', 7),
        'channel an array'    => ticket('ann', [ 'room' ]),
        'channel null'        => ticket('ann', undef),
        'channel empty'       => ticket('ann', ''),
        'channel too long'    => ticket('ann', 'x' x 256),
        'jti twice'           => Fanout::JWT::sign('HS256', $secret,
            qq({"aud":"rt","sub":"ann","exp":9999999999,"channel":"room","jti":"a","jti":"a"})),
        'jti too long'        => ticket('ann', 'room', jti => 'x' x 256),
        'jti a number'        => ticket('ann', 'room', jti => 7),
        'jti empty'           => ticket('ann', 'room', jti => ''),
        'ops no array'        => ticket('ann', 'room', ops => 'join'),
        'ops unknown'         => ticket('ann', 'room', ops => [ 'join', 'rule' ]),
        'ops a number'        => ticket('ann', 'room', ops => [ 1 ]),
    );

    for my $name (sort keys %tokens) {
        my $reply = $ann->cmd('join', channel => 'room', token => $tokens{$name});
        is(code($reply), 'unauthorized', "$name: " . message($reply));
    }

    is(code($ann->cmd('join', channel => 'room', token => $_->[1])), $_->[2], $_->[0])
        for [ 'no string', 7, 'bad_request' ], [ 'empty', '', 'bad_request' ],
            [ 'null', undef, 'bad_request' ], [ 'an object', {}, 'bad_request' ],
            [ '9000 bytes', 'x' x 9000, 'too_large' ];

    is(code($ann->cmd('publish', channel => 'open:1', data => 1, token => $good)),
       'bad_request', 'another command has none');
    is(code($ann->cmd('join', channel => 'room')), 'forbidden', 'nobody got in');
};


subtest 'its end' => sub {
    my $ann = connect_as('ann');
    my $bob = $nginx->native(path => '/any?user=bob');

    $ann->ok('join', channel => 'end', token => ticket('ann', 'end',
                                                  exp => CORE::time() + 3));
    $ann->ok('join', channel => 'open:end',
             token => ticket('ann', 'open:end', exp => CORE::time() + 3));
    $ann->ok('join', channel => 'long',
             token => ticket('ann', 'long', exp => CORE::time() + 3));

    is(code($ann->cmd('join', channel => 'long',
                      token => ticket('ann', 'long', exp => CORE::time() + 600))),
       'ok', 'renewed in place');
    is(code($ann->cmd('auth', token => token('ann', exp => CORE::time() + 900))),
       'ok', 'the token of the session, too');
    is(removed($ann, 'end'), 'forbidden', 'the join ends with it');
    is(code($ann->cmd('join', channel => 'end')), 'forbidden', 'for good');
    is(code($ann->cmd('join', channel => 'end', token => ticket('ann', 'end'))), 'ok',
       'unless it brings another');

    sleep 1.2;

    $http->post("/fanout/channels/$_/messages", '1') for 'open:end', 'long';
    for my $channel ('open:end', 'long') {
        my $push = $ann->next_where(sub { defined $_[0]{data} }, 10);
        is($push && $push->{channel}, $channel, "$channel goes on");
    }

    # one that grants less

    my %ops = (ops => [ 'join', 'presence' ]);

    $bob->ok('join', channel => 'less', presence => { b => 1 },
             token => ticket('bob', 'less', %ops));
    is(code($bob->cmd('join', channel => 'less', token => ticket('bob', 'less', %ops))),
       'ok', 'the same again');
    $bob->ok('join', channel => 'less', token => ticket('bob', 'less'));
    is(removed($bob, 'less'), 'forbidden', 'what it does not permit ends');
};


subtest 'it is told of the end' => sub {
    my $eve = $nginx->native(path => '/soon?user=eve');
    my $end = CORE::time() + 4;

    $eve->ok('join', channel => 'soon', token => ticket('eve', 'soon', exp => $end));

    my $push = $eve->next_push;
    is($push->{channel}, 'soon', 'the channel');
    cmp_ok($push->{expiring}{in}, '<=', 2000, 'half of its time at most');

    $eve->ok('join', channel => 'soon', token => ticket('eve', 'soon', exp => $end + 600));
    is($eve->next_push(5), undef, 'renewed, it does not end');
};


subtest 'a client that comes back' => sub {
    my $ann   = connect_as('ann');
    my $watch = $nginx->native(path => '/any?user=eve');
    my %ops   = (ops => [ 'join', 'presence' ]);

    $watch->ok('join', channel => 'seat', token => ticket('eve', 'seat', %ops));
    $ann->ok('join', channel => 'seat', presence => { a => 1 },
             token => ticket('ann', 'seat', %ops));
    ok($watch->next_where(sub { $_[0]{presence} }), 'it is seen');

    $ann->cut;

    my $again = connect_as('ann', resume => $ann->welcome->{resume});

    ok($again->welcome->{resumed}, 'resumed');
    is(code($again->cmd('join', channel => 'seat')), 'forbidden',
       'it brings the token again');
    is(code($again->cmd('join', channel => 'seat', token => ticket('ann', 'seat', %ops))),
       'ok', 'and goes on');
    is(scalar(@{ $again->ok('members', channel => 'seat')->{members} || [] }), 1,
       'with its member');
};


subtest 'revoked' => sub {
    my $ann = connect_as('ann');
    my $tom = $nginx->native(path => '/any?user=tom');
    my $now = CORE::time();

    $ann->ok('join', channel => "r$_", token => ticket('ann', "r$_", jti => "j$_"))
        for 1, 2;

    $http->request(PUT => '/fanout/denials/token:j1?for=60');
    is(removed($ann, 'r1'), 'forbidden', 'the join ends at once');
    is(message($ann->cmd('join', channel => 'r1',
                         token => ticket('ann', 'r1', jti => 'j1'))),
       'the token was revoked', 'and does not come again');
    is(code($ann->cmd('join', channel => 'r1',
                      token => ticket('ann', 'r1', jti => 'j3'))),
       'ok', 'but with another token');

    # a session without a token: its user's tokens are revoked all the same

    $tom->ok('join', channel => 'old', token => ticket('tom', 'old', iat => $now - 100));
    $tom->ok('join', channel => 'new', token => ticket('tom', 'new', iat => $now));
    $http->post("/fanout/users/tom/revoke?before=" . ($now - 50), '');
    is(removed($tom, 'old'), 'forbidden', 'tokens of a user');
    is(code($tom->cmd('join', channel => 'new')), 'ok', 'a later one stays');
    is(message($tom->cmd('join', channel => 'old',
                         token => ticket('tom', 'old', iat => $now - 100))),
       'the token was revoked', 'the old one is refused');
    is(message($tom->cmd('join', channel => 'old', token => ticket('tom', 'old'))),
       'the token was revoked', 'and one that does not say when');
};


subtest 'streams, polls and POSTs' => sub {
    my $bearer = { Authorization => 'Bearer ' . token('ann') };
    my $s = ticket('ann', 'sse', jti => 'sse', exp => CORE::time() + 600,
                   ops => [ 'join', 'history', 'publish' ]);
    my $t = ticket('ann', 'sse2');

    my $get = sub {
        my ($query, %headers) = @_;
        return $http->get("/rt?$query", headers => { %$bearer, %headers });
    };

    is($get->('poll=1&channel=sse')->{status}, 403, 'without one');
    is($get->("poll=1&channel=sse&join_token=$s")->{status}, 200, 'a poll, in its query');
    is($get->('poll=1&channel=sse', 'Fanout-Join-Token' => $s)->{status}, 200,
       'in a header');
    is($get->('poll=1&channel=sse&channel=sse2', 'Fanout-Join-Token' => "$t, $s")->{status},
       200, 'two of them');
    is($get->("poll=1&channel=sse&channel=sse2&join_token=$t&join_token=$s")->{status}, 200,
       'in the query, too');
    is($get->("poll=1&channel=sse&channel=sse2&join_token=$s")->{status}, 403,
       'one for two channels');
    is($get->("poll=1&channel=sse2&history=1&join_token=$t")->{status}, 403,
       'without history');
    like($get->("poll=1&channel=sse&history=1&join_token=$s")->{body}, qr/"expires":\d+/,
         'with it, and its end');
    is($get->("poll=1&channel=sse&join_token=" . ticket('bob', 'sse'))->{status}, 403,
       'of another user');
    is($get->("poll=1&channel=open:1&join_token=" . ticket('bob', 'sse'))->{status}, 403,
       'also if it is not needed');
    is($get->("poll=1&channel=sse&join_token=" . token('ann'))->{status}, 401,
       'one of a session');
    is($get->("poll=1&channel=sse&join_token=x")->{status}, 401, 'none');
    is($get->("poll=1&channel=sse&join_token=")->{status}, 401, 'empty');
    is($get->("poll=1&channel=sse&" . join '&', map { "join_token=$t" } 1 .. 33)->{status},
       400, '33 tokens');

    my $join = Fanout::JSON::encode({ channel => 'sse', token => 'x.y.z' });
    $join =~ s/([^\w.])/sprintf '%%%02x', ord $1/ge;
    like($get->("poll=1&join=$join&join_token=$s")->{body}, qr/Fanout-Join-Token/,
         'a join in a URL has none');

    for my $text ("{\"channel\":\"sse\",\"\\u0074oken\":\"$s\"}", "{\"token\":\"$s") {
        (my $join = $text) =~ s/([^\w.])/sprintf '%%%02x', ord $1/ge;
        is($get->("poll=1&join=$join")->{status}, 400, 'nor like this');
        is($get->("poll=1&channel=a&join=$join")->{status}, 400, 'or this');
        is($http->get("/rt?poll=1&join=$join")->{status}, 401, 'nor from a stranger');
    }

    is($get->('poll=1&channel=sse&resume=r_secret')->{status}, 400,
       'a resume token does not belong there, either');

    is($http->get('/plain?poll=1&channel=open:1&Resume=r_secret', headers => {
                  Origin => 'https://evil.example' })->{status}, 403,
       'nor with a foreign origin');
    like($http->get("/plain?poll=1&channel=open:1&join_token=$s")->{body},
         qr/no tokens of channels are read here/,
         'a token of a channel where none is read');

    my $stream = Fanout::Stream->new($nginx, '/rt', channels => [ 'sse' ],
                                     query => "join_token=$s", headers => $bearer);
    $http->post('/fanout/channels/sse/messages', '7');
    is($stream->next_push->{data}, 7, 'a stream');
    $http->request(PUT => '/fanout/denials/token:sse?for=60');
    is($stream->next_push->{left}{reason}, 'forbidden', 'ends with its token');
    is($get->("poll=1&channel=sse&join_token=$s")->{status}, 401, 'revoked');

    my $p = ticket('ann', 'post', ops => [ 'publish' ]);
    my $post = sub {
        my ($op, %headers) = @_;
        return $http->post('/rt', Fanout::JSON::encode({ id => 1, channel => 'post', %$op }),
                           headers => { %$bearer, 'Content-Type' => 'application/json',
                                        %headers });
    };

    is($post->({ op => 'publish', data => 1 })->{status}, 403, 'a POST without one');
    is($post->({ op => 'publish', data => 1 }, 'Fanout-Join-Token' => $p)->{status}, 200,
       'with one');
    is($post->({ op => 'history' }, 'Fanout-Join-Token' => $p)->{status}, 403,
       'only what it grants');
    is($post->({ op => 'join', token => ticket('ann', 'post') })->{status}, 400,
       'a POST joins nothing');

    my $ws = eval { $nginx->native(path => "/rt?join_token=$t", token => token('ann')) };
    ok(!$ws, 'a WebSocket brings none in its URL');
    is($http->get("/off?poll=1&channel=open:1&join_token=$t")->{status}, 400,
       'nobody does where none is read');
};


subtest 'what it costs' => sub {
    my $bad = $nginx->native(path => '/rated?user=bad');
    my $begin = time();

    my @replies = $bad->batch(map {
        { op => 'join', channel => "c$_", token => ticket('ann', "c$_") }
    } 1 .. 60);

    my %codes;
    $codes{ code($_) }++ for @replies;

    is(scalar(@replies), 60, 'all are answered');
    cmp_ok($codes{forbidden}, '<', 30, 'a few are verified');
    is($codes{forbidden} + $codes{rate_limited}, 60, 'the others are refused for their rate');

    my $good = $nginx->native(path => '/rated?user=good');
    @replies = $good->batch(map {
        { op => 'join', channel => "c$_", token => ticket('good', "c$_") }
    } 1 .. 20);
    is((grep { code($_) eq 'ok' } @replies), 20, 'twenty good ones are fine');
};


subtest 'nobody else sees it' => sub {
    my $counters = counters();

    cmp_ok($counters->{tokens}, '>', 30, 'tokens are counted');
    cmp_ok($counters->{tokens_refused}, '>', 10, 'those refused');
    cmp_ok($counters->{tokens_expired}, '>=', 1, 'those that have expired');
    cmp_ok($counters->{tokens_renewed}, '>=', 1, 'those renewed');

    my $dir = $nginx->dir;

    for my $file (map { "$dir/$_.log" } qw( access fanout error )) {
        open my $f, '<', $file or die "$file: $!";
        my $text = do { local $/; <$f> };
        unlike($text, qr/eyJ[\w-]{20}|r_secret/, "not in $file");
    }

    open my $f, '<', "$dir/fanout.log" or die;
    my @deny = map { Fanout::JSON::decode($_) } <$f>;

    ok((grep { ($_->{op} // '') eq 'join' && $_->{status} == 401
               && ($_->{rule} // '') eq 'fanout_jwt' && ($_->{channel} // '') eq 'room' } @deny),
       'the log tells what was refused');
};


$nginx->done_testing;
