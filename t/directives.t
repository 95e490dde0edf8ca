#!/usr/bin/env perl

# The directives: if this fails, a mistake in a configuration is found out by
# users instead of "nginx -t", or a setting of an outer block is lost or leaks
# into a location it was not meant for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_zone other 8m slots=16 held=10% idle=1m dedupe=10s frames=8m;
        fanout_channel app * history=10;

        fanout_message_size 1000;
        fanout_batch 5;
        fanout_history 50;
        fanout_permit join http;
        fanout_ping 11s;
        fanout_user $arg_user;
END
    server => <<'END',
        fanout_message_size 2000;
        fanout_permit all server;
        fanout_origin https://server.test;

        location /outer { fanout app; }
        location /own {
            fanout app;
            fanout_message_size 3k;
            fanout_batch 64;
            fanout_channels_per_session 7;
            fanout_history 1000000;
            fanout_permit publish own;
            fanout_permit join own a*z;
            fanout_permit history own;
            fanout_ping 0;
            fanout_origin *;
            fanout_user "fixed$arg_more";
        }
        location /nested {
            fanout app;
            fanout_batch 9;
            location /nested/in  { fanout app; }
            location /nested/not { return 204; }
        }
        location /raw { fanout app; fanout_dialect raw; fanout_permit all *; }
        location /if {
            fanout app;
            fanout_batch 3;
            if ($arg_x) { set $y 1; }
        }
END
    servers => <<'END',
        server {
            listen 127.0.0.1:%%PORT1%%;
            location /outer { fanout app; }
        }
END
);


subtest 'what a location has' => sub {
    my $limits = sub { my $ws = $nginx->native(@_);
                       return ($ws->welcome->{limits}, $ws->welcome) };

    my ($l, $w) = $limits->(path => '/outer?user=u');
    is_deeply($l, { message => 2000, batch => 5, channels => 50,
                    history => 50 }, 'from the server, http and by default');
    is($w->{ping}, 11000, 'a time');
    is($w->{user}, 'u', 'a variable');

    ($l, $w) = $limits->(path => '/own?user=u');
    is_deeply($l, { message => 3072, batch => 64, channels => 7,
                    history => 1000000 }, 'its own');
    is($w->{ping}, 0, 'none');
    is($w->{user}, 'fixed', 'its own user');

    ($l) = $limits->(path => '/nested');
    is($l->{batch}, 9, 'a location');
    ($l) = $limits->(path => '/nested/in');
    is($l->{batch}, 9, 'and one inside it');
    is($nginx->http->get('/nested/not')->{status}, 204,
       'but what it does is not inherited');

    ($l) = $limits->(path => '/if');
    is($l->{batch}, 3, 'beside an if');
    ($l) = $limits->(path => '/if?x=1');
    is($l->{batch}, 3, 'and inside');

    ($l) = $limits->(path => '/outer', server_port => 'PORT1');
    is($l->{message}, 1000, 'another server knows only http');

    my $ws = $nginx->ws(path => '/raw?channel=a');
    $ws->send_text('raw');
    is($ws->recv_text, 'raw', 'a dialect');
};


subtest 'lists replace those around them' => sub {
    my $may = sub {
        my ($op, $channel, %o) = @_;

        my $r = $nginx->native(%o)->cmd($op, channel => $channel,
                                        $op eq 'publish' ? (data => 1) : ());
        return $r->{ok} ? 1 : $r->{error}{code};
    };

    is($may->(publish => 'server', path => '/outer'), 1, 'the server\'s');
    is($may->(join => 'http', path => '/outer'), 'forbidden', 'not http\'s');
    is($may->(join => 'http', path => '/outer', server_port => 'PORT1'), 1,
       'which is for others');
    is($may->(publish => 'http', path => '/outer', server_port => 'PORT1'),
       'forbidden', 'and only join');
    is($may->(publish => 'own', path => '/own'), 1, 'its own');
    is($may->($_->[0], $_->[1], path => '/own'), 1, 'which add up')
        for [ join => 'own' ], [ history => 'own' ], [ join => 'aXz' ];
    is($may->(publish => 'aXz', path => '/own'), 'forbidden',
       'each for its operations');
    is($may->(publish => 'server', path => '/own'), 'forbidden',
       'not the server\'s');

    my $from = sub {
        my ($path, $origin) = @_;
        $nginx->ws(path => $path, expect => undef,
                   headers => { Origin => $origin })->status;
    };

    is($from->('/outer', 'https://server.test'), 101, 'an origin');
    is($from->('/outer', 'http://localhost'), 403, 'no more the same');
    is($from->('/own', 'https://any.test'), 101, 'any');
};


# every way to be wrong and a part of what is said about it

my @zone = (
    'fanout_zone'                  => 'invalid number of arguments',
    'fanout_zone z'                => 'invalid number of arguments',
    'fanout_zone app 8m'           => 'fanout_zone.* is duplicate',
    'fanout_zone z lots'           => 'invalid zone size "lots"',
    'fanout_zone z -1m'            => 'invalid zone size "-1m"',
    'fanout_zone z 0'              => 'zone "z" is too small',
    'fanout_zone z 64k'            => 'zone "z" is too small.*2m',
    'fanout_zone z 8m x'           => 'invalid parameter "x"',
    'fanout_zone z 8m slot=4'      => 'invalid parameter "slot=4".*slots=',
    'fanout_zone z 8m state=/x'    => 'invalid parameter "state=/x"',
    'fanout_zone z 8m slots=0'     => 'invalid "slots=0"',
    'fanout_zone z 8m slots=65'    => 'invalid "slots=65".*64',
    'fanout_zone z 8m slots=x'     => 'invalid "slots=x"',
    'fanout_zone z 8m slots='      => 'invalid "slots="',
    'fanout_zone z 8m keys=5%'     => 'invalid "keys=5%": a range of percentages',
    'fanout_zone z 8m keys=9%-5%'  => 'invalid "keys=9%-5%"',
    'fanout_zone z 8m mail=1-5%'   => 'invalid "mail=1-5%"',
    'fanout_zone z 8m members=5%-101%' => 'invalid "members=5%-101%"',
    'fanout_zone z 8m signals=0%-0%' => 'invalid "signals=0%-0%"',
    'fanout_zone z 8m history=0%'  => 'invalid "history=0%": a percentage',
    'fanout_zone z 8m address=0%'  => 'invalid "address=0%": a percentage',
    'fanout_zone z 8m address=101%' => 'invalid "address=101%": a percentage',
    'fanout_zone z 8m user=0%'     => 'invalid "user=0%": a percentage',
    'fanout_zone z 8m user=101%'   => 'invalid "user=101%": a percentage',
    'fanout_zone z 8m address=5'   => 'invalid "address=5": a percentage',
    'fanout_zone z 8m records=0%'  => 'invalid "records=0%": a percentage from 1% to 90%',
    'fanout_zone z 8m records=91%' => 'invalid "records=91%": a percentage from 1% to 90%',
    'fanout_zone z 8m records=5'   => 'invalid "records=5": a percentage',
    'fanout_zone z 8m records=9%-5%' => 'invalid "records=9%-5%": a range',
    'fanout_zone z 8m records=55%-60%'
                                   => 'guaranteed shares of zone "z" are 105% of it',
    'fanout_zone z 8m history=80%' => 'guaranteed shares of zone "z" are 105% of it',
    'fanout_zone z 8m sessions=40%-50% history=50%'
                                   => 'guaranteed shares of zone "z" are 105% of it',
    'fanout_zone z 8m held=0%'     => 'invalid "held=0%"',
    'fanout_zone z 8m held=91%'    => 'invalid "held=91%"',
    'fanout_zone z 8m held=%'      => 'invalid "held=%"',
    'fanout_zone z 8m held=5'      => 'invalid "held=5".*1% to 90%',
    'fanout_zone z 8m idle=0'      => 'invalid "idle=0"',
    'fanout_zone z 8m idle=soon'   => 'invalid "idle=soon"',
    'fanout_zone z 8m dedupe=0'    => 'invalid "dedupe=0"',
    'fanout_zone z 8m dedupe=9y'   => 'invalid "dedupe=9y"',
    'fanout_zone z 8m denials=0'   => 'invalid "denials=0".*1 to 1000000',
    'fanout_zone z 8m frames=1k'   => 'invalid "frames=1k"',
    'fanout_zone "" 8m'            => 'invalid zone name ""',
    "fanout_zone 'a\tb' 8m"        => 'invalid zone name "a\tb"',
    'fanout_zone z 8m slots=4 slots=4' => 'duplicate parameter "slots=4"',
    'fanout_zone z 8m; fanout_zone z 8m' => 'fanout_zone.* is duplicate',
    'limit_req_zone $uri zone=z:1m rate=1r/s; fanout_zone z 8m'
                                   => '"z" is already declared|"z" conflicts',
    'fanout_zone z 8m; limit_req_zone $uri zone=z:9m rate=1r/s'
                                   => 'size .* "z" conflicts|"z" is already',
);

my @channel = (
    'fanout_channel'               => 'invalid number of arguments',
    'fanout_channel app'           => 'invalid number of arguments',
    'fanout_channel nope *'        => 'unknown zone "nope"',
    'fanout_channel app ""'        => 'invalid channel pattern ""',
    (map { 'fanout_channel app \'' . $_ . '\' history=1'
            => "the channel pattern \"\Q$_\E\" has a variable: \"fanout_channel\" takes none" }
         'room:$arg_x', '$fanout_user', 'a:${uri}:*', '$URI/*', 'a$$host'),
    'fanout_channel app * x'       => 'invalid parameter "x"',
    'fanout_channel app * x=1'     => 'invalid parameter "x=1"',
    'fanout_channel app * history' => 'invalid parameter "history"',
    'fanout_channel app * share=10%'        => 'invalid "share=10%": a range',
    'fanout_channel app * share=30%-50%'    => 'guaranteed 30%, while "history=".*guarantees 25%',
    'fanout_channel app * history=x'        => 'invalid "history=x"',
    'fanout_channel app * history=-1'       => 'invalid "history=-1"',
    'fanout_channel app * history='         => 'invalid "history="',
    'fanout_channel app * history=10000001' => 'invalid "history=10000001"',
    'fanout_channel app * bytes=x'          => 'invalid "bytes=x"',
    'fanout_channel app * bytes=5g'         => 'invalid "bytes=5g"',
    'fanout_channel app * history=1 bytes=0'
                                    => 'invalid "bytes=0": a size from 1',
    'fanout_channel app history=10'         => 'no channel pattern before "history=10"',
    'fanout_channel app presence=on idle=1m'
                                    => 'no channel pattern before "presence=on"',
    'fanout_channel app * ttl=0'            => 'invalid "ttl=0"',
    'fanout_channel app * ttl=x'            => 'invalid "ttl=x"',
    'fanout_channel app * ttl=366d'         => 'invalid "ttl=366d"',
    'fanout_channel app * ttl=1h'   => '"ttl" of .* needs "history"',
    'fanout_channel app * bytes=1m' => '"bytes" of .* needs "history"',
    'fanout_channel app * history=1 ttl=1s history=2'
                                    => 'duplicate parameter "history=2"',
);

push @channel, "fanout_channel app * $_=1" =>
    "parameter \"$_\" of \"fanout_channel\" is not served"
    for qw( dedupe );

push @channel, map {
    my ($parameters, $regex) = @$_;
    ("fanout_channel app * $parameters" => $regex)
} (
    [ 'presence=1',     'invalid "presence=1": "on", "off" or "summary"' ],
    [ 'presence=onn',   'invalid "presence=onn"' ],
    [ 'members=0 presence=on', 'invalid "members=0"' ],
    [ 'members=x presence=on', 'invalid "members=x"' ],
    [ 'keys=0 presence=on', 'invalid "keys=0": a number from 1 to 128' ],
    [ 'keys=129 presence=on', 'invalid "keys=129"' ],
    [ 'keys=x presence=on', 'invalid "keys=x"' ],
    [ 'changes=x presence=on', 'invalid "changes=x": a size from 0' ],
    [ 'changes=2000m presence=on', 'invalid "changes=2000m"' ],
    [ 'changes=1m',         '"changes" of "fanout_channel" needs' ],
    [ 'keys=3',             '"keys" of "fanout_channel" needs' ],
    [ 'keys=3 presence=summary', '"keys" of "fanout_channel" needs' ],
    [ 'linger=x',       'invalid "linger=x": a time of whole seconds from 0 to 1h' ],
    [ 'linger=2h',      'invalid "linger=2h"' ],
    [ 'batch=11s',      'invalid "batch=11s": a time from 0 to 10s' ],
    [ 'batch=-1',       'invalid "batch=-1"' ],
    [ 'presence=on idle=1ms',  'invalid "idle=1ms": a time from 100ms' ],
    [ 'presence=on expire=2d', 'invalid "expire=2d"' ],
    [ 'alive=ping',     'invalid "alive=ping": "command" or "pong"' ],
    [ 'publish=all',    'invalid "publish=all": "members" or "any"' ],
    [ 'hooks=',         'invalid "hooks=": "on" or "off"' ],
    [ 'hooks=publish',  'invalid "hooks=publish": "on" or "off"' ],
    [ 'records=yes',    'invalid "records=yes": "on", "off", "old" or "full"' ],
    [ 'records=',       'invalid "records="' ],
    [ 'records=on record=0',   'invalid "record=0": a size from 1 to 64k' ],
    [ 'records=on record=65k', 'invalid "record=65k"' ],
    [ 'records=on fields=0',   'invalid "fields=0": a number from 1 to 128' ],
    [ 'records=on fields=129', 'invalid "fields=129"' ],
    [ 'records=on records_max=0', 'invalid "records_max=0": a number from 1' ],
    [ 'records=on records_ttl=0', 'invalid "records_ttl=0": a time from 1s' ],
    (map { my ($name) = /^(\w+)/;
           ([ $_, "\"$name\" of \"fanout_channel\" needs \"records=on\"" ],
            [ "$_ records=off", "\"$name\" of \"fanout_channel\" needs" ]) }
         qw( record=1k fields=3 records_max=10 records_ttl=1h )),
    [ 'locks=on',       'invalid "locks=on": "off" or a time from 1s to 24h' ],
    [ 'locks=999ms',    'invalid "locks=999ms": "off" or a time' ],
    [ 'locks=1m locks_max=0', 'invalid "locks_max=0": a number from 1 to 1000000' ],
    [ 'locks=1m records=on guard=yes', 'invalid "guard=yes": "on" or "off"' ],
    [ 'locks_max=5',    '"locks_max" of "fanout_channel" needs "locks"' ],
    [ 'locks=off locks_max=5', '"locks_max" of "fanout_channel" needs "locks"' ],
    [ 'records=on guard=on', '"guard=on" of "fanout_channel" needs "locks"' ],
    [ 'locks=1m guard=on', '"guard=on" of "fanout_channel" needs "records"' ],
    [ 'idle=1m',        '"idle" of "fanout_channel" needs "presence=on"' ],
    [ 'expire=1m',      '"expire" of "fanout_channel" needs' ],
    [ 'members=3',      '"members" of "fanout_channel" needs' ],
    [ 'seen=90s presence=on', 'invalid "seen=90s": whole minutes from 1m' ],
    [ 'seen=1h',        '"seen" of "fanout_channel" needs' ],
    [ 'alive=pong',     '"alive" of "fanout_channel" needs' ],
    [ 'batch=1s',       '"batch" of "fanout_channel" needs "presence=on"' ],
    [ 'batch=0 presence=off', '"batch" of "fanout_channel" needs' ],
    [ 'publish=members', '"publish=members" of "fanout_channel" needs' ],
    [ 'presence=summary idle=1m', '"idle".* needs "presence=on"' ],
    [ 'presence=on idle=2m expire=1m', '"idle".* must be less than "expire"' ],
);

my @location = (
    'fanout'                       => 'invalid number of arguments',
    'fanout nope'                  => 'unknown zone "nope"',
    'fanout app; fanout other'     => 'fanout.* is duplicate',
    'fanout app; fanout_api app'   => 'fanout_api.* conflicts',
    'fanout_api app; fanout_status app' => 'fanout_status.* conflicts',
    'fanout_api nope'              => 'unknown zone "nope"',
    'fanout_status nope'           => 'unknown zone "nope"',
    'stub_status; fanout app'      => 'fanout.* conflicts',
    'fanout app; stub_status'      => '"fanout" conflicts .* "/test"',
    'fanout app; proxy_pass http://127.0.0.1:1'
                                   => '"fanout" conflicts .* "/test"',
    'fanout_api app; proxy_pass http://127.0.0.1:1'
                                   => '"fanout_api" conflicts .* "/test"',
    'fanout_status app; empty_gif' => '"fanout_status" conflicts .* "/test"',
    'proxy_pass http://127.0.0.1:1; fanout_api app' => 'fanout_api.* conflicts',
    'fanout_dialect pidgin'        => 'unknown dialect "pidgin".*raw',
    'fanout_dialect raw; fanout_dialect raw' => 'fanout_dialect.* is duplicate',
    'fanout_user $arg_a; fanout_user $arg_b' => 'fanout_user.* is duplicate',
    'fanout_user $nope_no'         => 'unknown "nope_no" variable',
    'fanout_permit all'            => 'invalid number of arguments',
    'fanout_permit write *'        => 'unknown operation "write"',
    'fanout_permit join,write *'   => 'unknown operation "write".*join.*record, lock and all',
    'fanout_permit records *'      => 'unknown operation "records"',
    'fanout_permit locks *'        => 'unknown operation "locks"',
    'fanout_permit join record *'  => '"record" is an operation, and no channel pattern',
    'fanout_permit join, *'        => 'unknown operation ""',
    'fanout_permit join,,all *'    => 'unknown operation ""',
    'fanout_permit presences *'    => 'unknown operation "presences"',
    'fanout_permit join publish room:*'
        => '"publish" is an operation, and no channel pattern',
    'fanout_permit join room:* history,presence'
        => '"history,presence" is an operation',
    'fanout_permit all separators=allow a'
        => '"separators=allow" must be the last parameter',
    'fanout_permit all list:$uri separators=allow'
        => '"separators=" is not for the list "list:\$uri"',
    'fanout_user_info'             => 'invalid number of arguments',
    'fanout_user_info name'        => 'invalid "name": NAME=VALUE',
    'fanout_user_info =x'          => 'invalid "=x": NAME=VALUE',
    'fanout_user_info na-me=x'     => 'invalid "na-me=x"',
    'fanout_user_info a=$nope_no'  => 'unknown "nope_no" variable',
    'fanout_user_info a=x b=y a=z' => 'duplicate name in "a=z"',
    'fanout_user_info a=x; fanout_user_info a=z' => 'duplicate name in "a=z"',
    'fanout_autojoin'              => 'invalid number of arguments',
    'fanout_autojoin room:*'       => 'invalid channel "room:\*": .*no wildcards',
    'fanout_autojoin a b a'        => 'duplicate channel "a" in "fanout_autojoin"',
    'fanout_autojoin a; fanout_autojoin a' => 'duplicate channel "a"',
    'fanout_broadcast app a; fanout_broadcast app a'
        => '"fanout_broadcast" directive is duplicate',
    'fanout_broadcast app; fanout_broadcast app'
        => '"fanout_broadcast" directive is duplicate',
    'fanout_autojoin a$'           => 'invalid variable in channel pattern "a\$"',
    'fanout_channels_per_session 1; fanout_autojoin a b'
        => '"fanout_autojoin" has more channels',
    'fanout_presence_size 9k'
        => 'invalid value "9k" of "fanout_presence_size": a size from 1 to 8k',
    'fanout_permit all ""'         => 'empty channel pattern',
    'fanout_permit all a separators=x'   => 'invalid "separators=x"',
    'fanout_permit all separators=allow' => 'no channel pattern',
    "fanout_permit all 'a\tb'"     => 'control character in .*"a\tb"',
    "fanout_autojoin 'a\tb'"       => 'control character in .*"a\tb"',
    'fanout_permit all a$'         => 'invalid variable in channel pattern "a\$"',
    'fanout_permit all a${b'       => '(?:invalid variable|variable name).*',
    'fanout_permit all $nope_no'   => 'unknown "nope_no" variable',
    'fanout_origin'                => 'invalid number of arguments',
    'fanout_origin one.test'       => 'invalid origin "one.test"',
    'fanout_origin * none'         => 'invalid origin "none"',
    'fanout_origin https://'       => 'invalid origin "https://"',
    'fanout_origin ://a.test'      => 'invalid origin "://a.test"',
    'fanout_origin https://a.test/'      => 'invalid origin "https://a.test/"',
    'fanout_origin https://a.test/app'   => 'invalid origin .*host',
    'fanout_origin https://*'      => 'invalid origin "https://\*": "\*" needs a domain',
    'fanout_origin https://*:8443' => 'invalid origin .*"\*" needs a domain',
    'fanout_origin https://*.com'  => 'invalid origin "https://\*.com": strangers',
    'fanout_origin https://*.com:8443'   => 'invalid origin .*: strangers',
    'fanout_origin https://*.localhost.' => 'invalid origin .*empty label',
    'fanout_origin https://*.'     => 'invalid origin .*(?:empty label|is needed)',
    'fanout_origin https://*..a.test'    => 'invalid origin .*empty label',
    'fanout_origin https://*.a..test'    => 'invalid origin .*empty label',
    'fanout_origin https://*.a.test.'    => 'invalid origin .*empty label',
    'fanout_origin https://*.10.0.0.1'   => 'invalid origin .*an address is not',
    'fanout_origin https://*.a.test/'    => 'invalid origin .*"scheme://\*.domain',
    'fanout_origin https://*.a.test:0'   => 'invalid origin .*"scheme://\*.domain',
    'fanout_origin https://*.[::1]'      => 'invalid origin .*"scheme://\*.domain',
    'fanout_origin https://*.b@a.test'   => 'invalid origin .*"scheme://\*.domain',
    'fanout_origin 1app://*.a.test'      => 'invalid origin .*"scheme://\*.domain',
    'fanout_origin https://x*.a.test'    => 'invalid origin .*the first label',
    'fanout_origin https://b.*.a.test'   => 'invalid origin .*the first label',
    'fanout_origin https://b@*.a.test'   => 'invalid origin .*the first label',
    'fanout_origin https://a.test:*'     => 'invalid origin .*the first label',
    'fanout_origin https://a.test/*'     => 'invalid origin .*the first label',
    'fanout_origin *://a.test'     => 'invalid origin .*the first label',
    'fanout_origin *.a.test'       => 'invalid origin .*the first label',
    'fanout_origin ://*.a.test'    => 'invalid origin .*the first label',
    'fanout_origin **'             => 'invalid origin .*the first label',
    'fanout_origin https://*x.a.test'    => 'invalid origin .*whole labels',
    'fanout_origin https://*.*.a.test'   => 'invalid origin .*whole labels',
    'fanout_origin https://*.a.test:*'   => 'invalid origin .*whole labels',
    'fanout_api app origin=https://*.com'
                                   => 'invalid origin "origin=https://\*.com": strangers',
    'fanout_api app origin=https://x.*.com' => 'invalid origin .*the first label',
    'fanout_origin $http_origin'         => 'invalid origin "\$http_origin"',
    'fanout_origin https://a:0'    => 'invalid origin "https://a:0"',
    'fanout_origin https://a:65536'      => 'invalid origin',
    'fanout_origin https://a@b'    => 'invalid origin',
    'fanout_origin 1app://a'       => 'invalid origin',
    'fanout_origin scheme=ftp'     => 'invalid scheme "ftp"',
    'fanout_origin scheme=$nope_no'      => 'unknown "nope_no" variable',
    'fanout_origin scheme=http scheme=https' => 'duplicate .*"scheme="',
    'fanout_api app orign=same'    => 'unknown parameter "orign=same".*host=',
    'fanout_api app origin=x'      => 'invalid origin "origin=x"',
    'fanout_api app origin='       => 'invalid origin "origin="',
    'fanout_api app host=a:80'     => 'invalid "host=a:80"',
    'fanout_api app host=a.*'      => 'invalid "host=a\.\*"',
    'fanout_api app host=$host'    => 'invalid "host=\$host": a name without a port and without variables',
    'fanout_api app host='         => 'invalid "host="',
    'fanout_api app opn'           => 'unknown parameter "opn".*"origin=".*"public"',
    'fanout_api app open'          => 'unknown parameter "open".*"public"',
    'fanout_status app open'       => 'unknown parameter "open": .*"public"',
    'fanout_status app host=a:80'  => 'invalid "host=a:80"',
    'fanout_status app origin=*'   => 'unknown parameter "origin=\*": "fanout_status" has "host="',
    'fanout_rate 5'                => 'invalid "fanout_rate" with "5"',
    'fanout_rate 0r/s'             => 'invalid "fanout_rate"',
    'fanout_rate 5r/m'             => 'invalid "fanout_rate"',
    'fanout_rate xr/s'             => 'invalid "fanout_rate"',
    'fanout_rate 5r/s burst=0'     => 'invalid "fanout_rate"',
    'fanout_rate 5r/s burst=x'     => 'invalid "fanout_rate"',
    'fanout_rate 5r/s 5'           => 'invalid "fanout_rate"',
    'fanout_rate off burst=5'      => 'invalid "fanout_rate"',
    'fanout_rate 1r/s; fanout_rate off' => 'fanout_rate.* is duplicate',
    'fanout_rate 2000000r/s'       => 'invalid "fanout_rate"',
        'fanout app; fanout_dialect raw; fanout_transports sse poll'
        => '"fanout_dialect raw" conflicts .* "/test"',
);

for (qw( fanout_ping fanout_timeout fanout_send_timeout fanout_resume
         fanout_drain fanout_retry fanout_poll_timeout ))
{
    push @location, "$_ soon" => "invalid value \"soon\" of \"$_\": a time",
                    "$_ -1"   => "invalid value \"-1\" of \"$_\": a time",
                    "$_ 1s 2s" => 'invalid number of arguments',
                    "$_ 1s; $_ 2s" => "$_.* is duplicate";
}

push @location, 'fanout_transports'     => 'invalid number of arguments',
                'fanout_transports sse webscoket' => 'unknown transport "webscoket": '
                    . 'there are "websocket", "sse", "poll" and "post"',
                'fanout_transports all' => 'unknown transport "all"';

for (qw( fanout_buffer fanout_message_size fanout_presence_size )) {
    push @location, "$_ x"  => "invalid value \"x\" of \"$_\": a size",
                    "$_ 2g" => "invalid value \"2g\" of \"$_\": a size",
                    "$_ 1k; $_ 2k" => "$_.* is duplicate";
}

for (qw( fanout_channels_per_session fanout_batch fanout_history
         fanout_sessions fanout_sessions_per_user ))
{
    push @location, "$_ x"  => "invalid value \"x\" of \"$_\": a number",
                    "$_ -1" => "invalid value \"-1\" of \"$_\": a number",
                    "$_ 1; $_ 2" => "$_.* is duplicate";
}


my @log = (
    'fanout_log'                   => 'invalid number of arguments',
    'fanout_log ""'                => 'invalid log ""',
    'fanout_log $arg_x.log'        => 'invalid log "\$arg_x.log".*without',
    'fanout_log syslog:'           => 'syslog',
    'fanout_log syslog:server=127.0.0.1,facility=x'   => 'unknown syslog facility "x"',
    'fanout_log syslog:server=127.0.0.1,severity=info'
                                   => '"severity=" in .* each event has its own',
    'fanout_log syslog:server=127.0.0.1,port=1'       => 'syslog parameter "port=1"',
    'fanout_log syslog:server=127.0.0.1,tag=a-b'      => 'syslog "tag" only allows',
    'fanout_log syslog:server=127.0.0.1:x'            => 'invalid port in syslog server',
    'fanout_log syslog:server=127.0.0.1 buffer=4k'    => 'is not for "syslog:"',
    'fanout_log syslog:server=127.0.0.1 flush=1s'     => 'no buffer is defined',
    'fanout_log x level=debug'     => 'unknown level in "level=debug": there are info',
    'fanout_log x level='          => 'unknown level in "level="',
    'fanout_log x level=info level=warn'   => 'duplicate parameter "level=warn"',
    (map { ("fanout_log x sample=$_" => "invalid \"sample=$_\": EVENT:N") }
        '', 'join', 'join:', 'join:0', 'join:-1', 'join:1000001', 'join:x', 'none:2',
        'deny:2', 'auth:2', 'conflict:2', 'kick:2', 'join:2,', 'join:2,join:3'),
    (map { ("fanout_log x $_" => '"sample=" of "fanout_log" has the event "(?:join|publish)"') }
        'events=deny sample=join:10', 'sample=join:10 events=deny,leave',
        'sample=join:3,publish:10', 'level=notice sample=join:10'),
    'fanout_log memory:32k'        => 'invalid log "memory:32k": "fanout_log" writes to a file',
    'fanout_log stderr'            => 'invalid log "stderr".*"/dev/stderr" is a file',
    'fanout_log x combined'        => 'invalid parameter "combined".*json',
    'fanout_log x off'             => 'invalid parameter "off"',
    'fanout_log x json $time'      => 'invalid parameter "\$time"',
    'fanout_log x $nope'           => 'unknown name in a format.*"nope"',
    'fanout_log x "$time $"'       => 'unknown name in a format.*""',
    'fanout_log x "${time"'        => '(?:a brace is not closed|variable name)',
    'fanout_log x events='         => 'unknown event "" in "events="',
    'fanout_log x events=open'     => 'unknown event "open" in.*connect',
    'fanout_log x events=join,'    => 'unknown event ""',
    'fanout_log x events=join,x'   => 'unknown event "x"',
    'fanout_log x buffer=0'        => 'invalid "buffer=0": a size from 1',
    'fanout_log x buffer=x'        => 'invalid "buffer=x": a size from 1',
    'fanout_log x buffer=1g'       => 'invalid "buffer=1g": a size from 1',
    'fanout_log x buffer=1k flush=0'   => 'invalid "flush=0": a time from 1ms',
    'fanout_log x buffer=1k flush=2d'  => 'invalid "flush=2d": a time from 1ms',
    'fanout_log x buffer=1k buffer=1k' => 'duplicate parameter "buffer=1k"',
    'fanout_log x events=deny events=join'
                                   => 'duplicate parameter "events=join"',
    'fanout_log off events=deny'   => 'invalid parameter "events=deny"',
    'fanout_log x buffer=1k flush=x'   => 'invalid "flush=x": a time from 1ms',
    'fanout_log x flush=1s'        => 'no buffer is defined for fanout_log',
    'fanout_log x buf=1k'          => 'invalid parameter "buf=1k"',
    'fanout_log x buffer=1k; fanout_log x buffer=2k' => 'conflicting',
    'access_log x combined buffer=1k; fanout_log x buffer=1k' => 'conflicting',
    'fanout_log x buffer=1k; access_log x combined buffer=2k' => 'conflicting',
    'fanout_log off; fanout_log x' => 'fanout_log.* is duplicate: it is off',
    'fanout_log x; fanout_log off' => 'fanout_log.* is duplicate',
    'fanout_log x ' . ('$user' x 60)
                          => 'a line can be larger than 64k in format',
    'fanout_log json'              => 'invalid log "json".*a format comes after',
    'fanout_log /nowhere/x'        => '/nowhere/x" failed',
);

my @hook = (
    'fanout_hook'                  => 'invalid number of arguments',
    'fanout_hook app'              => 'invalid number of arguments',
    'fanout_hook app /h'           => 'a hook needs at least one event',
    'fanout_hook nope /h join'     => 'unknown zone "nope"',
    'fanout_hook app h join'       => 'invalid URI "h" of "fanout_hook"',
    'fanout_hook app "" join'      => 'invalid URI "" of "fanout_hook"',
    'fanout_hook app @h join'      => 'invalid URI "@h" of "fanout_hook", it begins '
                                    . 'with "/"',
    'fanout_hook app http://h/ join' => 'invalid URI "http://h/" of "fanout_hook"',
    'fanout_hook app /h$arg_x join' => 'invalid URI "/h\$arg_x" of "fanout_hook", '
                                     . 'it takes no variables',
    'fanout_hook app /h join batch=1 batch=2' => 'duplicate parameter "batch=2"',
    'fanout_hook app /h joined'    => 'invalid event or parameter "joined".*'
                                    . 'connect, .*first-in.* fail=',
    'fanout_hook app /h JOIN'      => 'invalid event or parameter "JOIN"',
    'fanout_hook app /h ""'        => 'invalid event or parameter ""',
    'fanout_hook app /h join size=1' => 'invalid event or parameter "size=1"',
    'fanout_hook app /h join leave join' => 'duplicate event "join"',
    'fanout_hook app /h batch=1'   => 'a hook needs at least one event',
    'fanout_hook app /h join calls=2' => '"calls=" is for "publish"',
    'fanout_hook app /h join batch='    => 'invalid "batch="',
    'fanout_hook app /h join batch=0'   => 'invalid "batch=0"',
    'fanout_hook app /h join batch=x'   => 'invalid "batch=x"',
    'fanout_hook app /h join batch=65' => 'invalid "batch=65": a number from '
                                         . '1 to 64 is needed',
    'fanout_hook app /h join queue=0'   => 'invalid "queue=0"',
    'fanout_hook app /h join queue=-1'  => 'invalid "queue=-1"',
    'fanout_hook app /h join queue=1k'  => 'invalid "queue=1k"',
    'fanout_hook app /h join queue=10000' => '"queue=10000" of fanout_hook '
                                  . '"/h" is more than a quarter of zone "app" can '
                                  . 'hold: it is at most \d+',
    'fanout_hook app /h join timeout=0'  => 'invalid "timeout=0": a time '
                                          . 'from 1ms to 1h is needed',
    'fanout_hook app /h join timeout=2h' => 'invalid "timeout=2h"',
    'fanout_hook app /h join timeout=x'  => 'invalid "timeout=x"',
    'fanout_hook app /h join retry=0'    => 'invalid "retry=0"',
    'fanout_hook app /h join retry=61m'  => 'invalid "retry=61m"',
    'fanout_hook app /h join limit=0'    => 'invalid "limit=0": a size '
                                          . 'from 1 to 64m is needed',
    'fanout_hook app /h join limit=65m'  => 'invalid "limit=65m"',
    'fanout_hook app /h join limit=x'    => 'invalid "limit=x"',
    'fanout_hook app /h publish fail='     => 'invalid "fail=": "deny" or '
                                            . '"pass" is needed',
    'fanout_hook app /h publish fail=open' => 'invalid "fail=open"',
    'fanout_hook app /h join fail=pass'    => '"fail=" is for "publish"',
    'fanout_hook app /h publish retry=1s'  => '"retry=" is for events',
    'fanout_hook app /a publish; fanout_hook app /b publish'
                    => '"publish" of zone "app" has a hook already, "/a"',
    'fanout_hook app /a join; fanout_hook app /b leave'
                    => 'an event of zone "app" has a hook already, "/a"',
    'fanout_hook app /a join; fanout_hook app /b publish leave'
                    => 'an event of zone "app" has a hook already, "/a"',
);

my @authorize = (
    'fanout_authorize'             => 'invalid number of arguments',
    'fanout_authorize /h'          => 'invalid number of arguments',
    'fanout_authorize h join'      => 'invalid URI "h" of "fanout_authorize"',
    'fanout_authorize /h$uri join' => 'invalid URI "/h\$uri" .*it takes no '
                                    . 'variables',
    'fanout_authorize /h cache=1s' => '"fanout_authorize" needs at least one '
                                    . 'operation: connect, join, ',
    'fanout_authorize /h joins'    => 'unknown operation or parameter "joins" of '
                                    . '"fanout_authorize": there are connect, .*'
                                    . 'headers=',
    'fanout_authorize /h join ttl=1s' => 'unknown operation or parameter "ttl=1s"',
    'fanout_authorize /h join join' => 'duplicate operation "join"',
    'fanout_authorize /h lock,join,lock' => 'duplicate operation "lock"',
    'fanout_authorize /h join,'     => 'unknown operation or parameter "" of',
    'fanout_authorize /h all lock'  => 'duplicate operation "lock"',
    'fanout_authorize /h join cache=1s cache=1s' => 'duplicate parameter',
    'fanout_authorize /h join cache=x' => 'invalid "cache=x": a time from',
    'fanout_authorize /a join; fanout_authorize /b publish join'
                    => '"join" is asked for by fanout_authorize "/a" already',
    'fanout app; fanout_dialect raw; fanout_authorize /a join'
                    => '"fanout_authorize" conflicts .*"fanout_dialect raw"',
);


sub check {
    my ($http, $server, $main, $in_server) = @_;

    my $dir  = $nginx->dir;
    my $text = $nginx->expand($nginx->template);

    $text =~ s/(fanout_channel app \* history=10;)/$1 $http;/ if $http;
    $text =~ s/^events/$main;\nevents/m if $main;
    $text =~ s/location \/outer/location \/test { $server; }\nlocation \/outer/
        if $server;
    $text =~ s/location \/outer/$in_server;\nlocation \/outer/
        if $in_server;

    open my $f, '>', "$dir/test.conf" or die "test.conf: $!";
    print $f $text;
    close $f;

    my $said = qx{@{[ Fanout::Nginx::binary() ]} -t -p $dir -c $dir/test.conf -e $dir/test.log 2>&1};

    return ($? >> 8, $said);
}


sub refused {
    my ($block, @cases) = @_;

    for (my $i = 0; $i < @cases; $i += 2) {
        my ($line, $regex) = @cases[$i, $i + 1];
        my ($status, $said)
            = check($block eq 'http'   ? ($line, '')
                  : $block eq 'server' ? ('', '', '', $line) : ('', $line));

        ok($status, $line) or next;

        # variables are looked up when all has been read

        my $where = $regex =~ /unknown "\w+" variable|failed|conflicts \./
                  ? '' : '.* in .*test\.conf:\d+';

        like($said, qr/\[emerg\] .*$regex$where/, 'says what, and where');
    }
}


subtest 'fanout_zone'    => sub { refused('http', @zone) };
subtest 'fanout_channel' => sub { refused('http', @channel) };
subtest 'in a location'  => sub { refused('location', @location) };
subtest 'fanout_log'     => sub { refused('location', @log) };
subtest 'fanout_authorize' => sub { refused('location', @authorize) };
subtest 'fanout_hook'    => sub { refused('server', @hook) };

# where each may be, as the documentation says it

subtest 'places' => sub {
    open my $f, '<', "$FindBin::Bin/../docs/directives.md" or die $!;
    my $docs = do { local $/; readline $f };

    my %argument = (
        fanout_zone => 'z 8m', fanout_channel => 'app a', fanout => 'app',
        fanout_api => 'app', fanout_status => 'app',
        fanout_dialect => 'raw', fanout_user => 'u',
        fanout_permit => 'all *', fanout_origin => 'same',
        fanout_log => 'off', fanout_rate => 'off',
        fanout_hook => 'app /h publish', fanout_authorize => '/h join',
        (map { $_ => '1s' } qw( fanout_ping fanout_timeout fanout_send_timeout
                                fanout_resume fanout_drain )),
        (map { $_ => '1k' } qw( fanout_buffer fanout_message_size )),
        (map { $_ => '1' } qw( fanout_channels_per_session fanout_sessions
                               fanout_batch fanout_history )),
    );

    for my $name ($docs =~ /^## (fanout\w*)$/mg) {
        my ($context) = $docs =~ /^## $name\n.*?^\| Context \| (.*?) \|$/ms;
        my %may  = map { $_ => 1 } split /, /, $context;
        my $line = "$name " . ($argument{$name} // next);

        my %try = (
            main     => [ '', '', $line ],
            http     => [ $line, "" ],
            location => [ '', $line ],
            'if'     => [ '', "if (\$arg_a) { $line; }" ],
            limit_except => [ '', "limit_except GET { $line; }" ],
            upstream => [ "upstream u { server 127.0.0.1:1; $line; }", '' ],
        );

        for my $place (sort keys %try) {
            my ($status, $said) = check(@{ $try{$place} });
            my $refused = $said =~ /"$name" directive is not allowed here/;

            is($refused ? 'not' : 'allowed',
               $may{$place} ? 'allowed' : 'not', "$name in $place");
        }
    }
};


# what may be meant, but seldom is

subtest 'warnings' => sub {
    my @warn = (
        [ 'fanout_channel app room:*', '' ] => 'room:\*" is never reached',
        [ 'fanout_channel other a; fanout_channel other a history=1', '' ]
                                     => '"a" is never reached: "a" comes',
        [ 'fanout_channel other a:*; fanout_channel other a:b:*', '' ]
                                     => '"a:b:\*" is never reached: "a:\*"',
        [ 'fanout_channel other *:z; fanout_channel other a:*:z', '' ]
                                     => '"a:\*:z" is never reached',
        [ '', 'fanout_dialect raw' ] => '"fanout_dialect" does nothing in '
                                      . 'location "/test"',
        [ '', 'fanout_api app; fanout_permit all *' ]
                                     => '"fanout_permit" does nothing',
        [ '', 'fanout_origin same' ] => '"fanout_origin" does nothing',
        [ '', 'fanout_api app; fanout_origin same' ]
                                     => '"fanout_origin" does nothing',
        (map { [ '', $_ ] => '"' . (split)[0] . '" does nothing' }
             'fanout_autojoin a', 'fanout_user_info a=b',
             'fanout_transports sse', 'fanout_rate off', 'fanout_sessions 1',
             'fanout_sessions_per_user 1', 'fanout_channels_per_session 1',
             'fanout_presence_size 1k', 'fanout_resume 1m', 'fanout_retry 1s',
             'fanout_poll_timeout 1s'),
        [ '', 'fanout app; fanout_broadcast app x' ]
                                     => '"fanout_broadcast" does nothing',
        [ 'fanout_channel other on:* records=on',
          'fanout_broadcast other off:1 record=$arg_r' ]
            => '"record=" of "fanout_broadcast" does nothing on channel "off:1" of '
             . 'zone "other", which has no "records="',
        [ 'fanout_channel other on:* records=on',
          'fanout_broadcast other on:1 record=r' ] => undef,
        [ '', 'fanout app; fanout_permit join publish' ]
                        => '"publish" is the name of a channel here',
        [ '', 'fanout app; fanout_permit join a:*,b:*' ]
                => 'the comma is a part of the channel pattern "a:\*,b:\*"',
        [ '', 'fanout app; fanout_permit join a seperators=allow' ]
                => '"seperators=allow" is taken for a channel pattern',
        [ '', 'fanout app; fanout_permit all a; fanout_budget off' ]
                => undef,
        [ '', 'fanout app; fanout_permit all a; fanout_budget user off' ]
                => undef,
        (map {
            my $pattern = $_;
            ([ '', "fanout app; fanout_permit join '$pattern'" ]
                => qq{"\Q$pattern\E" looks like a regular expression},
             [ "fanout_channel other '$pattern'", '' ]
                => qq{"\Q$pattern\E" looks like a regular expression})
         } '^room:', 'room:\d+', '~', '~*', '~^room', '.*', 'room:.*', 'room:.+',
           '(?:a|b)', 'room:[0-9]+', '(a|b)*', '[a-z]?'),
        [ 'fanout_channel other ^room:[0-9]+$', '' ] => 'looks like a regular expression',
        [ 'fanout_channel other room:1$', '' ] => 'looks like a regular expression',
        [ '', 'fanout app; fanout_permit join a; fanout_autojoin ^a' ]
                        => '"\^a" looks like a regular expression',
        [ 'fanout_channel other a presence=on linger=3m', 'fanout other' ]
            => '"linger=180s" of "fanout_channel" "a" is longer than '
             . '"fanout_resume" of location "/test", 120s',
        [ 'fanout_channel other a presence=on linger=1s',
          'fanout other; fanout_resume 0' ] => '"linger=1s".* longer than',
        [ 'fanout_channel other a history=200000', '' ]
            => '"history=200000" of "fanout_channel" "a" can.t be kept: so many '
             . 'messages take 13963648 bytes at least, and such channels may take '
             . '8388608 of zone "other"',
        [ 'fanout_channel other a history=9 bytes=9m', '' ]
            => '"bytes=9437184" of "fanout_channel" "a" can.t be kept',
        [ 'fanout_channel other a history=9 bytes=1m share=5%-10%', '' ]
            => '"bytes=1048576" of "fanout_channel" "a" can.t be kept.* 838860 ',
        [ 'fanout_channel other a history=20000 share=5%-10%', '' ]
            => '"history=20000" of "fanout_channel" "a" can.t be kept',
        [ 'fanout_channel other a records=old', '' ]
            => '"records=old" of "fanout_channel" "a" has no "history": old values '
             . 'are told and not kept',
        [ 'fanout_channel other a records=full', '' ]
            => '"records=full" of "fanout_channel" "a" has no "history"',
        [ 'fanout_channel other a records=on', '' ] => undef,
        [ 'fanout_channel other a records=on records_max=16385', '' ]
            => '"records_max=16385" of "fanout_channel" "a" can.t be reached: so many '
             . 'records with a field each take 4194560 bytes at least, and all records may take '
             . '4194304 of zone "other"',
        [ 'fanout_channel other a records=on records_max=16384', '' ] => undef,
        [ 'fanout_zone z 8m records=10%; fanout_channel z a records=on records_max=3277',
          '' ] => '"records_max=3277".* can.t be reached.* 838860 ',
        [ '', 'fanout app; fanout_permit join a; fanout_dialect raw; '
            . 'fanout_autojoin a' ]
            => '"fanout_autojoin" does nothing in location "/test": .* raw',
        [ '', 'fanout app; fanout_permit join a; fanout_dialect raw; '
            . 'fanout_user_info a=b' ]
            => '"fanout_user_info" does nothing in location "/test": .* raw',
        [ 'fanout_channel other a presence=on linger=2m', 'fanout other; '
          . 'fanout_permit all *' ] => undef,
        [ 'fanout_channel other a history=100000 bytes=8m', '' ] => undef,
        [ '', 'fanout app; fanout_permit all com.example.* a.b *.c ~ann $arg_a' ]
                                    => undef,
        [ 'fanout_channel other a.*', '' ] => undef,
        [ '', 'fanout_origin same https://a.test:443 https://A.test; fanout app' ]
                                    => 'the origin "https://A.test" is there twice',
        [ '', 'fanout_origin https://*.a.test https://*.A.test:443; fanout app' ]
                                    => 'the origin "https://\*.A.test:443" is there twice',
        [ '', 'fanout_origin *; fanout_origin *; fanout app' ]
                                    => 'the origin "\*" is there twice',
        [ '', 'fanout_api app origin=null origin=null' ]
                                    => 'the origin "origin=null" is there twice',
        [ '', 'fanout app; fanout_permit all a; '
            . 'fanout_origin same * null https://a.test https://a.test:444 http://a.test' ]
                                    => undef,
        (map { [ '', $_ ] => 'two "fanout_log" write the same lines to ".*/x"' }
            'fanout_log x; fanout_log x', 'fanout_log x; fanout_log x json',
            'fanout_log x; fanout_log x events=deny',
            'fanout_log x events=join,deny; fanout_log y; fanout_log x events=deny,leave',
            'fanout_log x "$event $time"; fanout_log x "$event " $time'),
        (map { [ '', "fanout app; fanout_permit all a; $_" ] => undef }
            'fanout_log x; fanout_log y', 'fanout_log x; fanout_log x "$time"',
            'fanout_log x "a $time"; fanout_log x "b $time"',
            'fanout_log x "$time"; fanout_log x "$event"',
            'fanout_log x events=join; fanout_log x events=deny'),
        [ '', 'fanout app; fanout_permit all *' ] => undef,
        [ '', 'fanout_status app; fanout_origin same' ] => undef,
        [ 'fanout_channel other a:b; fanout_channel other a:*', '' ] => undef,
        [ 'fanout_channel other a*c; fanout_channel other a:*', '' ] => undef,
        [ 'fanout_zone z 8m slots=1', '' ]
                         => 'zone "z" has 1 slots for 2 worker processes',
    );

    while (my ($where, $regex) = splice @warn, 0, 2) {
        my ($status, $said) = check(@$where);

        is($status, 0, "@$where is taken");

        if (!defined $regex) {
            unlike($said, qr/\[warn\]/, 'and nothing is said');
            next;
        }

        like($said, qr/\[warn\] .*$regex/, 'but not without a word');
    }

    my ($status, $said) = check('', 'fanout_permit all *; '
                                . 'location /test/in { fanout app; }');
    unlike($said, qr/does nothing/, 'nothing is said where it is inherited');

    my $text = "load_module @{[ Fanout::Nginx::module({}) ]};" x !!length
               Fanout::Nginx::module({});
    my $conf = $nginx->dir . '/none.conf';

    open my $f, '>', $conf or die "$conf: $!";
    print $f "$text events { } http { fanout_zone app 8m;
              server { location /all { fanout app; } } }";
    close $f;

    like(qx{@{[ Fanout::Nginx::binary() ]} -t -c $conf -e $conf.log 2>&1},
         qr{\[warn\] .*"/all" has no "fanout_permit": nobody may},
         'who may do nothing');
};

subtest 'and what is right' => sub {
    for my $line ('fanout_channel app a* history=1 bytes=1m ttl=1s',
                  'fanout_channel other * history=1 ttl=1s',
                  'fanout_channel app a:*:b:* history=10000000',
                  'fanout_channel app a hooks=off',
                  'fanout_channel app a linger=1s',
                  'fanout_channel app a hooks=on history=1',
                  'fanout_channel app a records=on record=1 fields=1 records_max=1'
                  . ' records_ttl=1s',
                  'fanout_channel app a history=1 records=old',
                  'fanout_channel app a history=1 records=full',
                  'fanout_channel app a records=off',
                  'fanout_channel app a locks=1s', 'fanout_channel app a locks=24h',
                  'fanout_channel app a locks=off guard=off',
                  'fanout_channel app a records=on locks=1m locks_max=9 guard=on',
                  'fanout_zone z 2m records=20%', 'fanout_zone z 2m records=20%-100%',
                  'fanout_zone z 2m', 'fanout_zone z 3m slots=64 held=90%',
                  'fanout_zone z 2m keys=0%-1% history=70% members=10%-100%',
                  'fanout_zone z 2m slots=8 held=5% idle=1m dedupe=1m denials=9 frames=1m'
                  . ' channels=1%-50% keys=1%-50% members=1%-50% sessions=1%-50%'
                  . ' mail=1%-50% signals=1%-50% events=1%-50% history=1%',
                  'fanout_channel app z* history=1 share=25%-100%')
    {
        my ($status, $said) = check($line, '');
        is($status, 0, $line) or diag($said);
    }

    for my $line ('fanout_hook app /h publish',
                  'fanout_hook app /h?a=b connect disconnect join leave '
                  . 'first-in last-out occupied vacated publish batch=64 '
                  . 'queue=1 timeout=1h retry=1ms limit=64m fail=pass',
                  'fanout_hook app /h publish fail=deny batch=1 limit=1',
                  'fanout_hook app /h join; fanout_hook app /i publish; '
                  . 'fanout_hook other /h join publish')
    {
        my ($status, $said) = check('', '', '', $line);
        is($status, 0, $line) or diag($said);
    }

    for my $line ('fanout app; fanout_rate off', 'fanout_rate 1r/s',
                  'fanout_permit join,record a', 'fanout_permit record *',
                  'fanout_rate 1000000r/s burst=1000000',
                  'fanout_permit join,publish,history a b* $arg_a ${arg_b}c',
                  'fanout_permit all *', 'fanout_origin * https://x',
                  'fanout_origin same', 'fanout_origin null file:// app://x',
                  'fanout_origin same scheme=https',
                  'fanout_origin https://*.a.test https://*.a.test:8443',
                  'fanout_origin https://*.a.b.test http://*.localhost app://*.a.b',
                  'fanout_api app origin=https://*.a.test origin=https://a.test',
                  'fanout_origin scheme=$http_x_forwarded_proto',
                  'fanout_api app origin=* origin=null host=* host=*.a.b',
                  'fanout_ping 0', 'fanout_resume 0',
                  'fanout_drain 0', 'fanout_ping 1d', 'fanout_resume 30d',
                  'fanout_timeout 1d', 'fanout_send_timeout 1d',
                  'fanout_sessions 0', 'fanout_batch 64',
                  'fanout_message_size 15m', 'fanout_buffer 1024m',
                  'fanout_user $remote_addr:$arg_a', 'fanout_dialect native',
                  'fanout_transports sse poll', 'fanout_retry 1ms',
                  'fanout_poll_timeout 1d',
                  'fanout_log off', 'fanout_log x', 'fanout_log x json',
                  'fanout_log syslog:server=127.0.0.1,nohostname level=warn',
                  'fanout_log x sample=join:1,publish:1000000 events=join,publish',
                  'fanout_log x events=connect', 'fanout_log x buffer=1k',
                  'fanout_log x $time buffer=4k flush=5s events=join,leave',
                  'fanout_log x "$time " "$event"; fanout_log y json',
                  'fanout_log x; fanout_log x events=deny; access_log x',
                  'fanout_log x buffer=4k; fanout_log x json buffer=4k')
    {
        my ($status, $said) = check('', $line);
        is($status, 0, $line) or diag($said);
    }
};


subtest 'a reload with a mistake changes nothing' => sub {
    my $ws = $nginx->native(path => '/outer');

    ok($nginx->try_reload(qr/unknown zone "gone"/,
                          server => 'location /x { fanout gone; }'),
       'it is refused');
    $ws->ok('join', channel => 'server');
    $ws->ok('publish', channel => 'server', data => 1);
    is($ws->next_push->{data}, 1, 'all goes on');
    is($nginx->native(path => '/own')->welcome->{user}, 'fixed', 'for all');
};

done_testing();
