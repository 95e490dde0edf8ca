#!/usr/bin/env perl

# Ways to a fanout location: if this fails, a configuration that is normal in
# NGINX (a rewrite, a fallback, a condition, a second server, a "map") gives
# no session, or one in the wrong zone with the wrong permissions.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_zone other 4m;
        fanout_channel app * history=10;
        fanout_channel other * history=10;

        map $arg_token $who {
            s3cret   ann;
            default  "";
        }
        map $http_x_team $team {
            ~^(?<t>\w+)$  $t;
            default       none;
        }
END
    server => <<'END',
        location /realtime {
            fanout app;
            fanout_user $who;
            fanout_permit all room:*;
            fanout_permit all team:$team:*;
        }
        location /exact    { return 404; error_page 404 = /realtime?$args; }
        location /loose    { return 404; error_page 404 /realtime?$args; }
        location /coded    { return 404; error_page 404 =200 /realtime?$args; }
        location /tried    { root %%DIR%%/none;
                             try_files $uri /realtime?$args; }
        location /named    { root %%DIR%%/none; try_files $uri @named; }
        location @named    { fanout app; fanout_permit all *; }
        location /rewritten { rewrite ^ /realtime last; }
        location /broken   { rewrite ^ /elsewhere break;
                             fanout app; fanout_permit all *; }
        location /other    { fanout other; fanout_permit all *; }
        location /nested   { fanout_permit all *;
            location /nested/app   { fanout app; }
            location /nested/other { fanout other; }
        }
        location ~ ^/re/(?<room>\w+)$ {
            fanout app; fanout_dialect raw; fanout_permit all $room:*;
        }
        location /iffy {
            if ($arg_deny) { return 403; }
            if ($arg_set)  { set $x 1; }
            fanout app;
            fanout_permit all *;
        }
        location = /page   { return 426 "mine\n"; }
        location /fallback {
            error_page 426 405 = /page;
            fanout app;
            fanout_permit all *;
        }
        location = /index.html { return 200 "index\n"; }
        location = /sub    { ssi on; ssi_types *; root %%DIR%%; }
        location = /auth   { auth_request /realtime; root %%DIR%%; }
        location /api/app/   { fanout_api app; }
        location /api/other/ { fanout_api other; }
END
    servers => <<'END',
        server {
            listen 127.0.0.1:%%PORT%%;
            server_name second;
            location /realtime { fanout other; fanout_permit join *; }
        }
        server {
            listen 127.0.0.1:%%PORT1%%;
            location /realtime { fanout app; }
        }
END
);


sub session { $nginx->native(path => $_[0], @_[1 .. $#_]) }

sub works {
    my ($ann, $channel, $what) = @_;

    $channel //= 'room:1';

    $ann->ok('join', channel => $channel);

    my $n = $ann->ok('publish', channel => $channel, data => 'x')->{offset};

    is($ann->next_where(sub { ($_[0]{offset} // 0) == $n })->{data}, 'x',
       $what);
}


for my $path (qw( /realtime /exact /loose /coded /tried /rewritten )) {
    my $ann = session("$path?token=s3cret");

    is($ann->headers->{upgrade}, 'websocket', "$path is a handshake");
    is($ann->welcome->{user}, 'ann', "$path: of somebody");
    works($ann, 'room:1', "$path: who can talk");
    is($ann->cmd('join', channel => 'other')->{error}{code}, 'forbidden',
       "$path: where it is permitted");
}

works(session($_), 'any', $_)
    for qw( /named /broken /nested/app /nested/other /iffy /iffy?set=1
            /fallback );

my $ws = $nginx->ws(path => '/re/blue?channel=blue:1');
$ws->send_text('x');
is($ws->recv_text, 'x', 'a capture in a permission');
is($nginx->ws(path => '/re/blue?channel=red:1', expect => undef)->status, 403,
   'and another');

is($nginx->ws(path => '/iffy?deny=1', expect => undef)->status, 403,
   'an "if" that denies');

my $team = session('/realtime', headers => { 'X-Team' => 'blue' });
works($team, 'team:blue:1', 'a map in a permission');
is($team->cmd('join', channel => "team:$_:1")->{error}{code}, 'forbidden',
   "not team $_") for 'red', 'none';
is(session('/realtime', headers => { 'X-Team' => '*' })
   ->cmd('join', channel => 'team:red:1')->{error}{code}, 'forbidden',
   'not all teams');


# zones and servers

session('/other')->ok('publish', channel => 'z', data => 1);

my $http = $nginx->http;

is($http->get("/api/$_->[0]/channels/z")->{status}, $_->[1],
   "the channel in $_->[0]") for [ 'other', 200 ], [ 'app', 404 ];

my $second = session('/realtime', headers => { Host => 'second' });

is($second->ok('join', channel => 'z')->{offset}, 1, 'a second server');
is($second->cmd('publish', channel => 'z', data => 1)->{error}{code},
   'forbidden', 'has permissions of its own');
is($nginx->native(path => '/realtime', server_port => 'PORT1')
   ->cmd('join', channel => 'room:1')->{error}{code}, 'forbidden',
   'where there are none, nothing is permitted');


# what is no handshake

is($http->get('/realtime')->{status}, 426, 'a plain GET');
is($http->get('/exact')->{status}, 426, 'also after a redirect');
is($http->get('/index.html')->{body}, "index\n", 'other locations work');
is($http->raw(handshake('/auth'))->{status}, 500,
   'a subrequest is no handshake');

open my $f, '>', $nginx->dir . '/sub' or die $!;
print $f '[<!--# include virtual="/realtime" -->]';
close $f;

my $r = $http->get('/sub');
is($r->{status}, 200, 'not in a page either');
like($r->{body}, qr/^\[.*\]$/s, 'which is whole');
is($http->raw(handshake('/sub'))->{body}, $r->{body},
   'whatever the client asks for');


sub handshake {
    return Fanout::WS::request('AAAAAAAAAAAAAAAAAAAAAA==', path => $_[0]);
}


done_testing();
