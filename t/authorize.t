#!/usr/bin/env perl

# fanout_authorize: a backend says who may do what. If this fails, somebody does
# what the backend has denied, or can't do what it permits; a command waits for a
# question that is not its own; or a backend that is slow, dead or mad lets
# somebody in, or takes others with it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

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
        fanout_channel app * history=10 presence=on locks=1m records=on
                           batch=10ms;
        fanout_resume 1m;
        fanout_budget off;
        fanout_rate   off;
        upstream judge { server 127.0.0.1:$port; keepalive 8; }
END
    server => <<'END',
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
            fanout_authorize /may all timeout=2s;
        }
        location /some {
            fanout app;
            fanout_user   $arg_user;
            fanout_permit history,presence *;
            fanout_authorize /may join publish timeout=2s cache=0;
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

sub connect_as {
    my ($user, %o) = @_;
    return $nginx->native(path => ($o{path} || '/rt') . "?user=$user");
}

sub counts {
    my $r = Fanout::JSON::decode($http->get('/fanout-status')->{body});
    return $r->{zones}{app}{counters} || $r;
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
          [ 'join room', 'presence room', 'publish room' ],
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

$ann->cut;

$nginx->done_testing;
