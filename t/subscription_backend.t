#!/usr/bin/env perl

# Tokens of channels beside a backend that is asked. If this fails, what was
# granted for a time is granted for ever, or to somebody else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::AuthorizeBackend;
use Fanout::JWT;
use Fanout::Nginx;


my $secret  = 'a secret that only the backend knows';
my $backend = Fanout::AuthorizeBackend->start;

my $nginx = Fanout::Nginx->start(
    workers => 1,
    http    => 'fanout_zone app 8m; fanout_channel app * presence=on batch=10ms;',
    server  => <<"END",
        location /fanout/ { fanout_api app; }
        location = /may {
            internal;
            proxy_pass http://127.0.0.1:@{[ $backend->port ]};
        }
        location /rt {
            fanout app;
            fanout_jwt 'secret=$secret' channel=channel leeway=0 token=optional;
            fanout_user \$arg_user;
            fanout_permit presence *;
            fanout_authorize /may join;
        }
        location /who {
            fanout app;
            fanout_jwt 'secret=$secret' channel=channel leeway=0 token=optional;
            fanout_user \$arg_user;
            fanout_authorize /may connect,publish timeout=60s;
            fanout_budget off;
        }
        location /few {
            fanout app;
            fanout_jwt 'secret=$secret' channel=channel leeway=0 token=optional;
            fanout_user \$arg_user;
            fanout_permit join *;
            fanout_budget address sessions=1/s burst=40s;
        }
END
);

my $http = $nginx->http;


sub ticket {
    my ($user, $channel, %claims) = @_;

    return Fanout::JWT::sign('HS256', $secret,
                             { sub => $user, channel => $channel, %claims });
}


sub left {
    my ($s) = @_;

    my $push = $s->next_where(sub { $_[0]{left} }, 20);

    return $push ? $push->{left}{reason} : 'nothing';
}


subtest 'by a token' => sub {
    my $eve   = $nginx->native(path => '/rt?user=eve');
    my $token = ticket('eve', 'room', jti => 'j');

    is($eve->cmd('join', channel => 'room')->{error}{code}, 'forbidden',
       'the backend says no');
    ok($eve->ok('join', channel => 'room', token => $token)->{expires}, 'a token');
    ok($eve->ok('join', channel => 'room')->{expires}, 'it holds for another join');

    $http->put('/fanout/denials/token:j?for=60', '');
    is(left($eve), 'forbidden', 'and ends when it is revoked');
};


subtest 'by an answer' => sub {
    my $ends = (CORE::time() + 8) * 1000;

    $backend->says('join *' => [ 200, { ttl => 0, expires => $ends,
                                        presence => { role => 'guest' } } ]);

    my ($one, $two) = map { $nginx->native(path => '/rt?user=ann') } 1, 2;

    ok($one->ok('join', channel => 'a', presence => {})->{expires}, 'for a time');

    $backend->says();
    is($two->cmd('join', channel => 'a')->{error}{code}, 'forbidden',
       'the backend says no by then');
    ok($one->ok('join', channel => 'a')->{expires}, 'the time stays');
    is_deeply([ map { $_->{data} } @{ $one->ok('members', channel => 'a')->{members} } ],
              [ { role => 'guest' } ], 'and the data');
    $one->cmd('presence', channel => 'a', data => { role => 'admin' });
    select undef, undef, undef, 0.2;
    is_deeply([ map { $_->{data} } @{ $one->ok('members', channel => 'a')->{members} } ],
              [ { role => 'guest' } ], 'that the client cannot change');
    is(left($one), 'forbidden', 'it ends');
};


# whom the backend takes a client for is known only by its answer

subtest 'the backend says who it is' => sub {
    $backend->says('connect *' => [ 200, { user => 'eve', ttl => 0 } ]);

    my $poll = sub {
        my ($query, $token) = @_;

        return $http->get("/who?poll=1&timeout=0&channel=room$query", headers => {
            'Fanout-Join-Token' => $token })->{status};
    };

    is($poll->('&user=ann', ticket('eve', 'room')), 200, 'her token');
    is($poll->('', ticket('eve', 'room')), 200, 'without another name');
    is($poll->('&user=ann', ticket('ann', 'room')), 403, "another user's");
    is($poll->('', ticket('', 'room')), 403, 'that of nobody');
};


subtest 'revoked while a POST waits for the backend' => sub {
    for my $revoked (0, 1) {
        my $token = ticket('eve', "p$revoked", jti => 'late',
                           ops => [qw( join history )]);

        $backend->says('connect *' => [ 200, { user => 'eve', ttl => 0 } ],
                       "publish p$revoked" => [ 200, { ttl => 0 },
                                                wait => "go$revoked" ]);
        $backend->forget;

        my $post = $nginx->http;

        $post->connection->send_bytes($post->format_request('POST', '/who',
            headers => {
                'Content-Type'      => 'application/json',
                'Fanout-Join-Token' => $token },
            body => qq([{"id":1,"op":"publish","channel":"p$revoked","data":1},)
                    . qq({"id":2,"op":"history","channel":"p$revoked"}])));
        $backend->wait_requests(2);
        $http->put('/fanout/denials/token:late?for=60', '') if $revoked;
        $backend->let("go$revoked");

        my ($history) = grep { $_->{id} == 2 } @{ $post->read_response->json };

        is($history->{error}{code} // 'ok', $revoked ? 'forbidden' : 'ok',
           $revoked ? 'it grants nothing' : 'else it grants');
    }
};


subtest 'valid tokens of a request cost its address as well' => sub {
    my $tokens = join ',', (ticket('ann', 'room')) x 32;
    my @status = map {
        $http->get('/few?poll=1&timeout=0&channel=room&user=ann', headers => {
            'Fanout-Join-Token' => $tokens })->{status}
    } 1 .. 4;

    is($status[0], 200, 'the first');
    is($status[3], 429, 'no more are verified') or diag("@status");
};
