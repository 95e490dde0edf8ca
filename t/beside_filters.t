#!/usr/bin/env perl

# NGINX's filters and caches, "geo" and "map", internal locations, several zones:
# if this fails, a setting that is meant for pages breaks sessions or the API, what
# is cached is told to the wrong one, or one application hears another.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_zone two 4m;
        fanout_channel app * history=100;
        fanout_channel two * history=100;

        gzip on;
        gzip_types *;
        gzip_min_length 1;
        gzip_proxied any;
        sub_filter 'hello' 'HELLO';
        sub_filter_types *;
        sub_filter_once off;
        etag on;

        proxy_cache_path %%DIR%%/cache keys_zone=cache:1m;
        proxy_cache_valid 200 1m;

        geo $arg_from $where {
            default        outside;
            192.0.2.0/24   office;
        }
        map $where $may {
            office   staff;
            default  guests;
        }
        limit_conn_zone $arg_c zone=conn:1m;
END
    server => <<'END',
        add_header X-Added yes always;

        location /realtime { fanout app; fanout_user $arg_user;
                             fanout_permit all *; }
        location /raw      { fanout app; fanout_dialect raw;
                             fanout_permit all *; }
        location /geo      { fanout app; fanout_user $where;
                             fanout_permit all $may:*; }
        location /fanout/  { fanout_api app; }
        location /two/     { fanout_api two; }
        location /two-rt   { fanout two; fanout_permit all *; }
        location = /status { fanout_status app; }

        location /inside   { internal; fanout app; fanout_permit all *; }
        location /inapi/   { internal; fanout_api app; }
        location = /error  { return 404; error_page 404 = /inside; }
        location = /accel  { proxy_pass http://127.0.0.1:%%PORT1%%/accel; }
        location /accel-api/ { proxy_pass http://127.0.0.1:%%PORT1%%; }

        location /cached/  { proxy_pass http://127.0.0.1:%%PORT%%/;
                             proxy_http_version 1.1;
                             proxy_set_header Upgrade $http_upgrade;
                             proxy_set_header Connection "upgrade";
                             proxy_set_header Host $http_host;
                             proxy_cache cache;
                             add_header X-Cache $upstream_cache_status; }

        location = /conn   { limit_conn conn 1;
                             proxy_pass http://127.0.0.1:%%PORT%%/realtime;
                             proxy_http_version 1.1;
                             proxy_set_header Upgrade $http_upgrade;
                             proxy_set_header Connection "upgrade";
                             proxy_set_header Host $http_host; }
END
    servers => <<'END',
        server {
            listen 127.0.0.1:%%PORT1%%;
            location = /accel { add_header X-Accel-Redirect /inside;
                                return 200; }
            location /accel-api/ {
                add_header X-Accel-Redirect /inapi/channels/a/messages;
                return 200;
            }
            location /realtime { fanout two; fanout_permit all *; }
        }
END
);

my $http = $nginx->http;


# of a handshake; a page that is filtered comes in chunks

sub status_of {
    my ($path) = @_;

    return $nginx->http->start('GET', $path, headers => {
        Connection => 'Upgrade', Upgrade => 'websocket',
        'Sec-WebSocket-Version' => 13,
        'Sec-WebSocket-Key' => 'AAAAAAAAAAAAAAAAAAAAAA==',
    })->{status};
}


subtest 'filters leave sessions alone' => sub {
    my $ws = $nginx->native(path => '/realtime?user=hello',
                            headers => { 'Accept-Encoding' => 'gzip' });

    is($ws->headers->{'x-added'}, 'yes', 'a header that is for all');
    ok(!exists $ws->headers->{'content-encoding'}, 'a 101 is not compressed');
    is($ws->welcome->{user}, 'hello', 'nor is anything replaced in it');

    $ws->ok('join', channel => 'f');
    $ws->ok('publish', channel => 'f', data => 'hello ' x 1000);
    is($ws->next_push->{data}, 'hello ' x 1000, 'nor behind it');

    my $raw = $nginx->ws(path => '/raw?channel=f',
                         headers => { 'Accept-Encoding' => 'gzip' });
    $raw->send_text('hello');
    is($raw->recv_text, 'hello', 'raw');
};


subtest 'and serve the API' => sub {
    my $r = $http->post('/fanout/channels/g/messages', '"hello hello"');

    is($r->{status}, 201, 'a publish');

    my $plain = $http->get('/fanout/channels/g/messages');
    is($plain->json->{messages}[0]{data}, 'HELLO HELLO',
       'sub_filter is what it is asked for');

    for my $path ('/fanout/channels/g/messages', '/fanout/channels',
                  '/status', '/fanout/channels/none')
    {
        my $r = $http->get($path, headers => { 'Accept-Encoding' => 'gzip' });

        is($r->{headers}{'content-encoding'}, 'gzip', "$path is compressed")
            if $r->{status} == 200;

        my $body = $r->{body};

        if (($r->{headers}{'content-encoding'} // '') eq 'gzip') {
            require IO::Uncompress::Gunzip;
            IO::Uncompress::Gunzip::gunzip(\$r->{body}, \$body);
        }

        ok(eval { ref Fanout::JSON::decode($body) }, "$path is whole");
    }

    is($http->head('/fanout/channels/g')->{status}, 200, 'HEAD');
    is($http->get('/status?format=health')->{body}, "ok\n", 'health');

    # what was published is as it was

    my $ws = $nginx->native;
    is($ws->ok('history', channel => 'g')->{messages}[0]{data}, 'hello hello',
       'the log has what came in');
};


subtest 'proxy_cache' => sub {
    $http->post('/fanout/channels/c/messages', '1');

    my @got = map { $http->get('/cached/fanout/channels/c/messages') } 1 .. 2;

    is("@{[ map { $_->{headers}{'x-cache'} } @got ]}", 'MISS HIT',
       'a page of history may be cached');
    is($got[1]{body}, $got[0]{body}, 'as it was');
    is($http->get('/cached/fanout/channels/none')->{status}, 404,
       'what is not there is');
    is($http->post('/cached/fanout/channels/c/messages', '2')->{status}, 201,
       'a publish goes through');
    is($http->get('/fanout/channels/c')->json->{offset}, 2, 'once');

    # two sessions by one address: the second must not be the first's answer

    my @in = map { $nginx->native(path => "/cached/realtime?user=u$_") } 1, 2, 1;

    is(join(' ', map { $_->welcome->{user} } @in), 'u1 u2 u1',
       'sessions by a location with a cache');
    isnt($in[0]->client, $in[2]->client, 'each its own');
    $_->ok('join', channel => 'c') for @in;
    $in[0]->ok('publish', channel => 'c', data => 'all');
    is(scalar(grep { $_->next_push->{data} eq 'all' } @in), 3, 'and alive');
};


subtest 'geo and map' => sub {
    my %try = ('192.0.2.7' => 'staff', '198.51.100.1' => 'guests');

    for my $from (sort keys %try) {
        my $ws = $nginx->native(path => "/geo?from=$from");

        for my $group (qw( staff guests )) {
            my $r = $ws->cmd('join', channel => "$group:1");
            is($r->{ok} ? 1 : 0, $try{$from} eq $group ? 1 : 0,
               "$from: $group");
        }
    }

    is($nginx->native(path => '/geo?from=192.0.2.7')->welcome->{user},
       'office', 'as a user, too');
};


subtest 'internal locations' => sub {
    is(status_of('/inside'), 404, 'not from outside');
    is($http->get('/inapi/channels')->{status}, 404, 'the API neither');

    my $ws = $nginx->native(path => '/error');
    ok($ws->ok('join', channel => 'i'), 'by error_page');

    # an upstream that sends one there: the request is upgraded all the same

    $ws = $nginx->native(path => '/accel');
    ok($ws->ok('join', channel => 'i'), 'by X-Accel-Redirect');

    $http->post('/fanout/channels/a/messages', '"there"');
    is($http->get('/accel-api/x')->json->{messages}[0]{data}, 'there',
       'the API by X-Accel-Redirect');
};


subtest 'zones and servers don\'t hear each other' => sub {
    my $one   = $nginx->native(path => '/realtime');
    my $two   = $nginx->native(path => '/two-rt');
    my $other = $nginx->native(path => '/realtime', server_port => 'PORT1');

    $_->ok('join', channel => 'same') for $one, $two, $other;
    $one->ok('publish', channel => 'same', data => 'in one');
    $http->post('/two/channels/same/messages', '"in two"');

    is($one->next_push->{data}, 'in one', 'its own');
    is($two->next_push->{data}, 'in two', 'its own');
    is($other->next_push->{data}, 'in two', 'another server, the same zone');
    is(join(' ', map { $http->get("/$_/channels/same")->json->{offset} }
                 qw( fanout two )), '1 1', 'each its own log');

    $one->ok('ping');
    is_deeply([ $one->drain ], [], 'nothing else');

    $one->cut;

    my $stranger = $nginx->native(path => '/two-rt', resume => $one->resume);

    ok(!$stranger->welcome->{resumed}, 'a token of one is none of another');
    ok($nginx->native(path => '/realtime', resume => $one->resume)
       ->welcome->{resumed}, 'it was not used up');
};


# a session that is proxied has a request in work as long as it lives

subtest 'limit_conn counts proxied sessions' => sub {
    my $in = $nginx->ws(path => '/conn?c=1');

    is($in->status, 101, 'one');
    is(status_of('/conn?c=1'), 503, 'and no more');
    $in->cut;
    ok(wait_for(sub { status_of('/conn?c=1') == 101 }), 'until it leaves');
};
