#!/usr/bin/env perl

# Sessions behind a balancer: if this fails, the log and the rules of "allow"
# and "deny" see the address of the balancer instead of the client's, and
# somebody who was locked out gets in.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_channel app * history=10;
        log_format short '$status $remote_addr $realip_remote_addr $arg_n';
        set_real_ip_from 127.0.0.1;
END
    server => <<'END',
        access_log %%DIR%%/access.log short;
        real_ip_header X-Forwarded-For;

        location /realtime {
            allow 192.0.2.0/24;
            deny all;
            fanout app;
            fanout_user $remote_addr;
            fanout_permit all *;
        }

        location /fanout/ {
            deny 192.0.2.66;
            fanout_api app;
        }

        location /open {
            fanout app;
            fanout_permit all *;
        }
END
    servers => <<'END',
        server {
            listen 127.0.0.1:%%PORT1%% proxy_protocol;
            real_ip_header proxy_protocol;
            access_log %%DIR%%/access.log short;
            location /realtime {
                deny 192.0.2.66;
                fanout app;
                fanout_user $remote_addr;
                fanout_permit all *;
            }
        }
END
);


sub session {
    my ($ip, $n, $path) = @_;

    return $nginx->native(
        path    => ($path || '/realtime') . "?n=$n", expect => undef,
        headers => { 'X-Forwarded-For' => $ip }
    );
}


sub logged {
    my ($line) = @_;

    return wait_for(sub {
        open my $f, '<', $nginx->dir . '/access.log' or return;
        return grep { $_ eq "$line\n" } <$f>;
    });
}


my $in = session('192.0.2.1', 1);

is($in->status, 101, 'an address that is allowed');
is($in->welcome->{user}, '192.0.2.1', 'is what a variable gives');
ok(logged('101 192.0.2.1 127.0.0.1 1'), 'and what is logged');

is(session('198.51.100.1', 2)->status, 403, 'one that is not');
ok(logged('403 198.51.100.1 127.0.0.1 2'), 'is logged as well');

is($nginx->ws(path => '/realtime?n=3', expect => undef)->status, 403,
   'nor is the balancer itself');
ok(logged('403 127.0.0.1 127.0.0.1 3'), 'logged');

is(session('192.0.2.1', 4, '/open')->status, 101, 'where nothing is denied');
ok(logged('101 192.0.2.1 127.0.0.1 4'), 'logged');

my $http = $nginx->http;

for ([ '192.0.2.66', 403 ], [ '192.0.2.1', 201 ]) {
    is($http->post('/fanout/channels/a/messages', '1',
                   headers => { 'X-Forwarded-For' => $_->[0] })->{status},
       $_->[1], "the API for $_->[0]");
}

# the session is detached: nothing of the request may be needed any more

$in->ok('join', channel => 'a');
$in->ok('publish', channel => 'a', data => 'x');
is($in->next_push->{from}{user}, '192.0.2.1', 'the session goes on with it');


# The address is the connection's: restored when the request of a handshake
# ends, and taken again by the next request.

is($http->get('/realtime?n=5', headers => { 'X-Forwarded-For' => $_ })
   ->{status}, 426, "$_ on a connection that is kept")
    for '192.0.2.7', '192.0.2.8';
is($http->reused, 3, 'the same');
ok(logged('426 192.0.2.7 127.0.0.1 5'), 'the first');
ok(logged('426 192.0.2.8 127.0.0.1 5'), 'and the second');


# PROXY protocol

sub proxied {
    my ($ip, $n) = @_;

    my $request = Fanout::WS::request('AAAAAAAAAAAAAAAAAAAAAA==',
                                      path => "/realtime?n=$n");

    return Fanout::WS->connect(
        port    => $nginx->port('PORT1'),
        request => "PROXY TCP4 $ip 192.0.2.9 1234 443\r\n$request",
        expect  => undef
    );
}

my $ws = proxied('192.0.2.3', 6);

is($ws->status, 101, 'behind PROXY');
like($ws->recv_text, qr/"user":"192\.0\.2\.3"/, 'the address');
ok(logged('101 192.0.2.3 127.0.0.1 6'), 'logged');
is(proxied('192.0.2.66', 7)->status, 403, 'denied');
ok(logged('403 192.0.2.66 127.0.0.1 7'), 'logged');


done_testing();
