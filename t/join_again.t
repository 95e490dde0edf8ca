#!/usr/bin/env perl

# A second join of who has joined, when the backend says no by then. If this
# fails, what was granted for a time is granted for ever.

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
    http    => 'fanout_zone app 8m; fanout_channel app * presence=on;',
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
END
);

my $http = $nginx->http;


sub left {
    my ($s) = @_;

    my $push = $s->next_where(sub { $_[0]{left} }, 20);

    return $push ? $push->{left}{reason} : 'nothing';
}


subtest 'by a token' => sub {
    my $eve   = $nginx->native(path => '/rt?user=eve');
    my $token = Fanout::JWT::sign('HS256', $secret,
                                  { sub => 'eve', channel => 'room', jti => 'j' });

    is($eve->cmd('join', channel => 'room')->{error}{code}, 'forbidden',
       'the backend says no');
    ok($eve->ok('join', channel => 'room', token => $token)->{expires}, 'a token');
    ok($eve->ok('join', channel => 'room')->{expires}, 'it holds for another join');

    $http->put('/fanout/denials/token:j?for=60', '');
    is(left($eve), 'forbidden', 'and ends when it is revoked');
};


subtest 'by an answer' => sub {
    my $ends = (CORE::time() + 4) * 1000;

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
    is_deeply([ map { $_->{data} } @{ $one->ok('members', channel => 'a')->{members} } ],
              [ { role => 'guest' } ], 'that the client cannot change');
    is(left($one), 'forbidden', 'it ends');
};
