#!/usr/bin/env perl

# Sessions behind "auth_request": if this fails, somebody talks who was
# refused, or talks as somebody else, because the answer of the
# authentication server was not waited for or not kept.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_channel app * history=10;
        log_format short '$status $request_uri $fanout_user';

        map $http_x_uri $name {
            ~token=(?<token>\w+)  $token;
        }

        map $name $user_of {
            nobody   "";
            default  $name;
        }

        map $name $verdict {
            ann      200;
            bob      200;
            nobody   200;
            expired  401;
            banned   403;
            broken   500;
            default  401;
        }
END
    server => <<'END',
        access_log %%DIR%%/access.log short;

        location = /auth {
            internal;
            log_subrequest off;
            proxy_pass http://127.0.0.1:%%PORT1%%/check;
            proxy_set_header X-URI $request_uri;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }

        location /realtime {
            auth_request /auth;
            auth_request_set $user $upstream_http_x_user;
            fanout app;
            fanout_user $user;
            fanout_permit all room:*;
            fanout_permit all own:$user:*;
        }

        location /raw {
            auth_request /auth;
            auth_request_set $user $upstream_http_x_user;
            fanout app;
            fanout_dialect raw;
            fanout_user $user;
            fanout_permit all own:$user:*;
        }

        location /page {
            auth_request /auth;
            fanout app;
            fanout_permit all *;
            error_page 401 = @login;
        }

        location @login { return 302 /login; }

        location /fanout/ {
            auth_request /auth;
            fanout_api app;
        }

        location /any {
            satisfy any;
            deny all;
            auth_request /auth;
            fanout app;
            fanout_permit all *;
        }

        location /gone {
            auth_request /nowhere;
            fanout app;
            fanout_permit all *;
        }

        location = /nowhere {
            proxy_pass http://127.0.0.1:%%PORT9%%;
        }
END
    servers => <<'END',
        server {
            listen 127.0.0.1:%%PORT1%%;
            location = /check {
                add_header X-User $user_of always;
                if ($verdict = 401) { return 401; }
                if ($verdict = 403) { return 403; }
                if ($verdict = 500) { return 500; }
                return 200;
            }
        }
END
);


sub status_of {
    my ($path) = @_;

    return $nginx->ws(path => $path, expect => undef,
                      subprotocols => ['fanout.v1'])->status;
}


is(status_of("/$_->[0]?channel=own:x:1&token=$_->[1]"), $_->[2],
   "/$_->[0] with the token $_->[1]: $_->[2]")
    for [ 'realtime', 'ann', 101 ],     [ 'raw', 'x', 401 ],
        [ 'realtime', 'expired', 401 ], [ 'raw', 'expired', 401 ],
        [ 'realtime', 'banned', 403 ],  [ 'raw', 'banned', 403 ],
        [ 'realtime', 'broken', 500 ],  [ 'realtime', '', 401 ],
        [ 'gone', 'ann', 500 ],         [ 'page', 'expired', 302 ],
        [ 'page', 'ann', 101 ],         [ 'any', 'ann', 101 ],
        [ 'any', 'expired', 401 ];

is($nginx->http->get('/fanout/channels?token=banned')->{status}, 403,
   'the API is refused as well');
is($nginx->http->post('/fanout/channels/room:1/messages?event=token=ann', '1')
   ->{status}, 201, 'and allowed, with its body');

subtest 'the user is the one that was authenticated' => sub {
    my ($ann, $bob, $nobody) = map {
        $nginx->native(path => "/realtime?token=$_")
    } qw( ann bob nobody );

    is($ann->welcome->{user}, 'ann', 'ann');
    is($bob->welcome->{user}, 'bob', 'bob');
    ok(!defined $nobody->welcome->{user}, 'nobody');

    $_->ok('join', channel => 'room:2') for $ann, $bob;
    $ann->ok('publish', channel => 'room:2', data => 'hi');

    my $hi = $bob->next_where(sub { exists $_[0]{data} });

    is($hi->{from}{user}, 'ann', 'who spoke');

    ok($ann->ok('join', channel => 'own:ann:1'), 'a channel of her own');
    is($bob->cmd('join', channel => 'own:ann:1')->{error}{code}, 'forbidden',
       'is not his');
    ok($bob->ok('join', channel => 'own:bob:1'), 'he has another');
    is($nobody->cmd('join', channel => 'own:ann:1')->{error}{code},
       'forbidden', 'nor nobody\'s');
    ok($nobody->ok('join', channel => 'room:2'), 'who may join the room');
};

subtest 'raw' => sub {
    my $ann = $nginx->ws(path => '/raw?channel=own:ann:2&token=ann');

    $ann->send_text('x');
    is($ann->recv_text, 'x', 'her own channel');

    is(status_of('/raw?channel=own:ann:2&token=bob'), 403, 'is not his');
};

subtest 'the access log' => sub {
    my @lines;

    ok(wait_for(sub {
        open my $f, '<', $nginx->dir . '/access.log' or return;
        @lines = <$f>;
        return grep { m{/raw\?channel=own:ann:2&token=bob} } @lines;
    }), 'is written');

    ok((grep { $_ eq "101 /realtime?token=bob bob\n" } @lines), 'the user');
    ok((grep { $_ eq "101 /raw?channel=own:ann:2&token=ann ann\n" } @lines),
       'also of a raw session');
    ok((grep { m{^403 /raw\?channel=own:ann:2&token=bob bob} } @lines),
       'and of one that was refused');
};


done_testing();
