#!/usr/bin/env perl

# fanout_broadcast: if this fails, writes through NGINX don't show up at those
# who listen, or twice, or before they are done; or a response, a request or a
# cache is not what it would be without the module; or what a backend says to
# the module only leaks to its clients.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use MIME::Base64 qw( decode_base64 );

use Fanout::Backend;
use Fanout::JSON;
use Fanout::Nginx;


my $backend = Fanout::Backend->start;
my $port    = $backend->port;

my $version = `@{[ Fanout::Nginx::binary() ]} -v 2>&1`;
my ($minor) = $version =~ m{/1\.(\d+)};
my ($listen, $on) = $minor >= 25 ? ('', 'http2 on;') : ('http2', '');

my $nginx = Fanout::Nginx->start(
    http => <<"END",
        fanout_zone app 16m;
        fanout_zone other 4m;
        fanout_zone small 2m keys=0%-1%;
        fanout_zone packed 2m keys=0%-1% user=100% address=100%;
        fanout_channel app * history=1000;
        fanout_channel other * history=1000;
        fanout_channel small tight:* history=10 share=0%-1%;
        fanout_channel small * history=100000;
        upstream kept { server 127.0.0.1:$port; keepalive 4; }
        proxy_cache_path %%DIR%%/cache keys_zone=files:1m;
        proxy_read_timeout 30s;
        map \$arg_off \$chosen { default chosen; 1 ''; }
END
    server => <<"END",
        # clients here read, and answer pings, only now and then
        location /realtime { fanout app; fanout_permit all *; fanout_ping 0; }
        location /elsewhere { fanout other; fanout_permit all *; }
        location /small-realtime {
            fanout small; fanout_permit all *;
            fanout_channels_per_session 100000;
            fanout_rate off; fanout_budget off;
        }
        location /raw { fanout app; fanout_dialect raw; fanout_permit all *; }
        location /fanout/ { fanout_api app; }
        location = /status { fanout_status app; }
        location = /small-status { fanout_status small; }
        location = /packed-status { fanout_status packed; }

        location /plain/ { proxy_pass http://127.0.0.1:$port; }

        location /api/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app api event=\$request_method
                user=\$http_x_user client=\$http_fanout_client
                key=\$http_x_key;
        }
        location /var/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app table:\$arg_t event=\$arg_e;
        }
        location /map/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app \$chosen;
        }
        location /any/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app any methods=any status=any;
        }
        location /some/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app some methods=PUT,GET status=201,4xx;
        }
        location /two/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app two:1 body=request meta=off;
            fanout_broadcast other two:2 body=none event=changed;
            fanout_broadcast app two:3 headers=off;
            fanout_broadcast app two:1 body=none;
        }
        location /named/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app;
        }
        location /deaf/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app deaf headers=off methods=any;
        }
        location /little/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app little;
            fanout_broadcast_size 100;
        }
        location /large/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app large methods=any;
            fanout_broadcast_size 1m;
            proxy_buffers 4 4k;
            proxy_buffer_size 4k;
            proxy_busy_buffers_size 8k;
        }
        location /request/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app request body=request;
            client_body_buffer_size 1k;
        }
        location /unread/ {
            proxy_pass http://127.0.0.1:$port;
            proxy_request_buffering off;
            proxy_http_version 1.1;
            fanout_broadcast app request body=request;
        }
        location /kept/ {
            proxy_pass http://kept;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            fanout_broadcast app kept;
        }
        location /stream/ {
            proxy_pass http://127.0.0.1:$port;
            proxy_buffering off;
            fanout_broadcast app stream methods=any;
        }
        location /gzip/ {
            proxy_pass http://127.0.0.1:$port;
            gzip on; gzip_types *; gzip_min_length 1;
            fanout_broadcast app gzip;
        }
        location /sub/ {
            proxy_pass http://127.0.0.1:$port;
            @{[ has('http_sub_module')
                ? 'sub_filter_types *; sub_filter before after;' : '' ]}
            fanout_broadcast app sub;
        }
        location /ssi/ {
            proxy_pass http://127.0.0.1:$port;
            ssi on; ssi_types *;
            fanout_broadcast app ssi;
        }
        location /mirror/ {
            proxy_pass http://127.0.0.1:$port;
            mirror /mirrored;
            fanout_broadcast app mirror;
        }
        location = /mirrored {
            internal;
            proxy_pass http://127.0.0.1:$port/mirrored;
            fanout_broadcast app mirrored methods=any status=any;
        }
        location /auth/ {
            auth_request /check;
            auth_request_set \$user \$upstream_http_x_user;
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app auth user=\$user;
        }
        location = /check {
            internal;
            proxy_pass http://127.0.0.1:$port/check;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header X-Script \$http_x_check;
            fanout_broadcast app check methods=any status=any;
        }
        location /error/ {
            proxy_pass http://127.0.0.1:$port;
            proxy_intercept_errors on;
            error_page 500 = \@fallback;
            error_page 502 =200 /page;
            fanout_broadcast app error;
        }
        location \@fallback {
            fanout_broadcast app fallback;
            default_type application/json;
            return 200 '{"fallback":true}';
        }
        location = /page {
            fanout_broadcast app page methods=any;
            default_type text/plain;
            return 200 "page";
        }
        location /redirect/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app redirect;
        }
        location /hidden/ {
            internal;
            alias %%DIR%%/html/;
            types { application/json json; }
            fanout_broadcast app hidden methods=any;
        }
        location /cache/ {
            proxy_pass http://127.0.0.1:$port;
            proxy_cache files; proxy_cache_valid 200 1m;
            proxy_cache_methods GET POST;
            proxy_cache_key \$request_method\$uri;
            add_header X-Cache \$upstream_cache_status;
            fanout_broadcast app cache methods=any;
        }
        location /return/ {
            default_type application/json;
            fanout_broadcast app return methods=any;
            return 200 '{ "returned" : true }';
        }
        location /file/ {
            alias %%DIR%%/html/;
            default_type application/octet-stream;
            sendfile on;
            fanout_broadcast app file methods=GET;
        }
        location /dav/ {
            alias %%DIR%%/dav/;
            @{[ has('http_dav_module') ? 'dav_methods PUT DELETE;' : '' ]}
            fanout_broadcast app dav;
        }
        location /inherit/ {
            fanout_broadcast app inherit;
            location /inherit/yes/ { proxy_pass http://127.0.0.1:$port; }
            location /inherit/no/ {
                proxy_pass http://127.0.0.1:$port;
                fanout_broadcast off;
            }
            location /inherit/own/ {
                proxy_pass http://127.0.0.1:$port;
                fanout_broadcast app own;
            }
            location /inherit/api/ { fanout_api app; }
        }
        location /keyed/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast small keyed user=\$arg_user key=\$arg_key;
        }
        location /packed/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast packed keyed user=\$arg_user key=\$arg_key;
        }
        location /tight/ {
            proxy_pass http://127.0.0.1:$port;
            client_body_buffer_size 64k;
            fanout_broadcast small tight:1 body=request;
        }
        location /scgi/ {
            scgi_pass 127.0.0.1:%%PORT3%%; fanout_broadcast app cgi;
        }
        location /uwsgi/ {
            uwsgi_pass 127.0.0.1:%%PORT4%%; fanout_broadcast app cgi;
        }
        location /fastcgi/ {
            fastcgi_pass 127.0.0.1:%%PORT5%%; fanout_broadcast app cgi;
            fastcgi_param REQUEST_METHOD \$request_method;
        }
        location /grpc/ {
            grpc_pass grpc://127.0.0.1:%%PORT2%%;
            fanout_broadcast app cgi;
        }
END
    servers => <<"END",
        server {
            listen 127.0.0.1:%%PORT6%% sndbuf=8k;
            location /large/ {
                proxy_pass http://127.0.0.1:$port;
                fanout_broadcast app large methods=any;
                fanout_broadcast_size 1m;
            }
        }
        server {
            listen 127.0.0.1:%%PORT1%% $listen;
            $on
            location /api/ {
                proxy_pass http://127.0.0.1:$port;
                fanout_broadcast app api event=\$request_method;
            }
        }
        server {
            listen 127.0.0.1:%%PORT2%% $listen;
            $on
            location / {
                add_header X-Accel-Fanout-Event of-grpc;
                default_type application/json;
                return 200 '{"grpc":1}';
            }
        }
END
);

my $bare = Fanout::Nginx->start(
    module => '',
    server => "location / { proxy_pass http://127.0.0.1:$port; }",
);

my @workers = $nginx->worker_pids;
my @http    = map { $nginx->http(worker => $_) } @workers;
my $turn    = 0;

sub http { $http[$turn++ % 2] }

sub status { $http[0]->get('/status')->json }

sub counter {
    my ($name) = @_;

    return status()->{counters}{$name};
}


# one who listens on each worker

my @ears = map { $nginx->native(worker => $_, path => '/realtime') } @workers;
my %joined;

sub listen_to {
    for my $channel (@_) {
        next if $joined{$channel}++;
        $_->ok('join', channel => $channel) for @ears;
    }
}


# what both get, without what differs from run to run

sub heard {
    my ($n) = @_;

    $n = 1 if !defined $n;

    my @got = map { [ pushes($_, $n) ] } @ears;

    is_deeply($got[1], $got[0], 'the same on both workers');

    return $n == 1 ? $got[0][0] : @{ $got[0] };
}


sub pushes {
    my ($ear, $n) = @_;

    return map {
        my $push = $ear->next_push || {};
        delete @$push{qw( op time offset seq )};
        $push;
    } 1 .. $n;
}


# A message that is surely last: nothing else has come before it

sub silent {
    my ($what) = @_;

    listen_to('mark');
    $http[0]->post('/fanout/channels/mark/messages', '"mark"');

    for my $ear (@ears) {
        my ($push) = pushes($ear, 1);
        is($push->{channel}, 'mark', $what)
            or diag(Fanout::JSON::encode($push));
    }
}


my $json  = [ 'Content-Type' => 'application/json' ];
my $plain = [ 'Content-Type' => 'text/plain' ];

sub answered {
    my ($status, $headers, $body) = @_;

    return { script(send => response($status, $headers, $body)) };
}


sub meta {
    my ($method, $path, $status, $omitted) = @_;

    return { method => $method, path => $path, status => $status,
             $omitted ? (omitted => $omitted) : () };
}


sub write_file {
    my ($path, $text) = @_;

    open my $f, '>', $path or die "$path: $!";
    print $f $text;
    close $f;
}


subtest 'a write is heard' => sub {
    listen_to('api', 'any', 'some');

    my $r = http()->post('/api/items?secret=1', '{"name":"x"}',
        headers => answered(201, [ $json, [ ETag => '"e"' ] ],
                            qq({ "id" : 1,\n "name": "a b" }\n)));

    is($r->{status}, 201, 'the client has its response');
    is($r->{body}, qq({ "id" : 1,\n "name": "a b" }\n), 'as it was');
    is($r->{headers}{etag}, '"e"', 'with its headers');

    is_deeply(heard(), {
        channel => 'api', event => 'POST', data => { id => 1, name => 'a b' },
        meta => meta(POST => '/api/items', 201),
    }, 'who listens has the message');

    http()->delete('/api/items/1', headers => {
        'X-User' => 'ann', 'X-Key' => 'k1',
        'Fanout-Client' => $ears[0]->client,
        script(send => response(204, []))
    });

    is_deeply((pushes($ears[1], 1))[0], {
        channel => 'api', event => 'DELETE', data => undef, key => 'k1',
        from => { user => 'ann', client => $ears[0]->client },
        meta => meta(DELETE => '/api/items/1', 204),
    }, 'a deletion, with who did it');

    silent('who wrote does not hear it again');

    http()->delete('/api/items/1', headers => {
        'X-User' => 'ann', 'X-Key' => 'k1', script(send => response(204, []))
    });
    silent('a key is heard once');

    http()->put('/api/p', 'x', headers => {
        'X-User' => 'a' x 256, 'X-Key' => 'k' x 129, 'Fanout-Client' => 'c_1',
        script(send => response(200, [ $plain ], 'y'))
    });

    is_deeply(heard(), {
        channel => 'api', event => 'PUT', data => 'y',
        meta => meta(PUT => '/api/p', 200),
    }, 'what is invalid is left out, not the message');

    ok($nginx->wait_log(qr/fanout_broadcast: an invalid $_ is left out/),
       "which the log tells: $_") for qw( user key client );
};


subtest 'methods and statuses' => sub {
    my $ok = answered(200, [ $json ], '1');

    http()->get('/api/x', headers => $ok);
    http()->head('/api/x', headers => answered(200, [ $json ], ''));
    http()->request(OPTIONS => '/api/x', headers => $ok);
    http()->post('/api/x', '', headers => answered($_, [ $json ], '1'))
        for 400, 404, 409, 500, 302;
    http()->put('/some/x', '', headers => $ok);
    http()->post('/some/x', '', headers => answered(201, [ $json ], '1'));
    silent('neither reads nor failures');

    http()->get('/some/x', headers => answered(404, [ $json ], '2'));
    is_deeply(heard(), { channel => 'some', data => 2,
                         meta => meta(GET => '/some/x', 404) }, 'listed ones');

    http()->request(UNHEARDOF => '/any/x',
                    headers => answered(503, [ $json ], '3'));
    is_deeply(heard(), { channel => 'any', data => 3,
                         meta => meta(UNHEARDOF => '/any/x', 503) }, 'any');

    http()->head('/any/x', headers => {
        script(send => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n"
                     . "Content-Type: application/json\r\n\r\n")
    });
    is_deeply(heard(), { channel => 'any', data => undef,
                         meta => meta(HEAD => '/any/x', 200) }, 'HEAD');

    http()->get('/any/x', headers => answered(304, [ [ ETag => '"a"' ],
        [ 'Content-Length' => 5 ] ], ''));
    is(heard()->{meta}{status}, 304, 'a 304 is complete without a body');
};


subtest 'kinds of bodies' => sub {
    my $deep = '[' x 121 . ']' x 121;

    for my $case (
        [ 'application/json',         '[1, 2]',      [ 1, 2 ] ],
        [ 'application/ld+json; charset=utf-8', '{}', {} ],
        [ 'Application/JSON',         ' "s" ',       's' ],
        [ 'application/json',         "\xef\xbb\xbf {\"a\":1}", { a => 1 } ],
        [ undef,                      "\xef\xbb\xbf[ 1 ]", [ 1 ] ],
        [ 'application/json',         '{"a":1',      '{"a":1', ],
        [ 'application/json',         '1 2',         '1 2', ],
        [ 'application/json',         $deep,         $deep, ],
        [ 'application/json',         '',            undef ],
        [ 'text/html; charset=utf-8', "<p>\xc3\xa4", "<p>\x{e4}" ],
        [ 'text/plain',               '[1]',         '[1]' ],
        [ 'text/plain',               "\xe4",        "\xe4", 'base64' ],
        [ 'application/json',         "\"\xe4\"",    "\"\xe4\"", 'base64' ],
        [ 'image/png',                "a\0b",        "a\0b", 'base64' ],
        [ undef,                      '[ 1 ]',       [ 1 ] ],
        [ undef,                      'x',           'x' ],
    ) {
        my ($type, $body, $data, $enc) = @$case;

        http()->post('/api/kind', '', headers => answered(200,
            [ $type ? [ 'Content-Type' => $type ] : () ], $body));

        my $push = heard();

        $push->{data} = decode_base64($push->{data}) if $push->{enc};

        is_deeply([ @$push{qw( data enc )} ], [ $data, $enc ],
                  ($type || 'no type') . ': ' . substr $body, 0, 20);
    }

    my $raw = $nginx->ws(path => '/raw?channel=api');

    http()->post('/api/kind', '', headers => answered(200, [ $json ], '{ }'));
    is($raw->recv_text, '{}', 'the raw dialect has the bare body');

    http()->post('/api/kind', '', headers => answered(200,
        [ [ 'Content-Type' => 'image/png' ] ], "\1\2"));
    is($raw->recv_message->{payload}, "\1\2", 'and bytes');

    heard(2);

    http()->post('/api/kind', '', headers => answered(200,
        [ $json, [ 'Content-Encoding' => 'gzip' ] ], "\x1f\x8b..."));
    is_deeply([ @{ heard() }{qw( data meta )} ],
              [ undef, meta(POST => '/api/kind', 200, 'encoded') ],
              'a compressed body is left out');

    http()->post('/api/kind', '', headers => answered(200,
        [ $json, [ 'Content-Encoding' => 'identity' ] ], '7'));
    is(heard()->{data}, 7, 'identity is no coding');

    http()->post('/api/' . 'x' x 2000, '',
                 headers => answered(200, [ $json ], '7'));
    is_deeply(heard()->{meta}, { method => 'POST', status => 200 },
              'a path that is too long for meta is left out');

    http()->post("/api/%22%0a\xc3\xa4", '',
                 headers => answered(200, [ $json ], '7'));
    is(heard()->{meta}{path}, "/api/%22%0a\x{e4}", 'as the client sent it');
};


subtest 'variables' => sub {
    listen_to('table:a', 'chosen');

    http()->post('/var/x?t=a&e=saved', '', headers => answered(200, [], ''));
    is_deeply([ @{ heard() }{qw( channel event )} ], [ 'table:a', 'saved' ]);

    my $before = counter('broadcast_failures');
    my $r = http()->post('/var/x?t=*', '', headers => answered(200, [], 'ok'));

    is($r->{body}, 'ok', 'an invalid name: the response goes');
    ok(wait_for(sub { counter('broadcast_failures') == $before + 1 }),
       'and it is counted');
    like($nginx->log, qr/\[error\].*fanout_broadcast to zone "app" failed: the channel is not a valid name.*POST/,
         'and logged');

    http()->post('/map/x?off=1', '', headers => answered(200, [], ''));
    silent('an empty name turns it off');
    http()->post('/map/x', '', headers => answered(200, [], ''));
    is(heard()->{channel}, 'chosen', 'another does not');
};


subtest 'headers of the backend' => sub {
    listen_to('deaf', 'h:1', 'h:2');

    my @say = ([ 'X-Accel-Fanout-Channel' => 'h:1' ],
               [ 'x-accel-fanout-channel' => 'h:2' ],
               [ 'X-Accel-Fanout-Channel' => 'h:1' ],
               [ 'X-Accel-Fanout-Event' => 'said' ],
               [ 'X-Accel-Fanout-Key' => 'once' ],
               [ 'X-Accel-Fanout-Later' => 'x' ],
               [ 'X-Other' => 'stays' ], $plain);

    for my $path (qw( named deaf api )) {
        # a key would hide what should not have been

        my $r = http()->get("/$path/x", headers => answered(200,
            [ grep { $path eq 'named' || $_->[0] !~ /-Key/ } @say ], 'x'));

        unlike($r->{head}, qr/x-accel/i, "$path: they are stripped");
        is($r->{headers}{'x-other'}, 'stays', 'no other one');

        if ($path eq 'named') {
            is_deeply([ map { [ @$_{qw( channel event key data )} ] } heard(2) ],
                      [ map { [ "h:$_", 'said', 'once', 'x' ] } 1, 2 ],
                      'a read that names channels is published to them');

        } elsif ($path eq 'deaf') {
            is_deeply([ @{ heard() }{qw( channel event )} ], [ 'deaf', 'said' ],
                      'not with headers=off');
            silent('it is all');

        } else {
            silent('nor with the default methods');
        }
    }

    http()->get('/named/x', headers => answered(200, [ @say ], 'x'));
    silent('the key is heard once');

    http()->post('/api/x', '', headers => answered(200,
        [ [ 'X-Accel-Fanout-Channel' => 'h:1' ],
          [ 'X-Accel-Fanout-Channel' => 'api' ],
          [ 'X-Accel-Fanout-Exclude' => $ears[1]->client ] ], 'x'));

    is_deeply([ map { $_->{channel} } pushes($ears[0], 2) ],
              [ 'api', 'h:1' ], 'the channel of the rule, and those named');
    silent('but not for the client that is left out');

    my $before = counter('broadcast_failures');

    my $r = http()->get('/named/x', headers => answered(200,
        [ map { [ 'X-Accel-Fanout-Channel' => $_ ] } '*', "\x7f", 'x' x 256 ],
        'x'));

    is($r->{status}, 200, 'names that are none');
    ok(wait_for(sub { counter('broadcast_failures') == $before + 3 }),
       'are failures');

    my $plain = "stra\xc3\x9fe, a%2Fb";

    http()->get('/named/x', headers => answered(200,
        [ [ 'X-Accel-Fanout-Channel' => $plain ],
          [ 'X-Accel-Fanout-Event' => 'first' ],
          [ 'X-Accel-Fanout-Event' => 'last' ] ], 'x'));

    my ($one) = @{ $http[0]->get('/fanout/channels/stra%C3%9Fe%2C%20a%252Fb'
                                 . '/messages')->json->{messages} };

    is($one->{event}, 'last', 'values as they stand, the last of several');

    http()->get('/named/x', headers => answered(200,
        [ map { [ 'X-Accel-Fanout-Channel' => "many:$_" ] } 1 .. 70 ], 'x'));

    my $many = $http[0]->get('/fanout/channels?match=many:*&limit=100')->json;
    is(scalar @{ $many->{channels} }, 64, 'no more than 64');

    $r = http()->post('/plain/x', '', headers => answered(200, [ @say ], 'x'));
    like($r->{head}, qr/X-Accel-Fanout-Event: said/,
         'elsewhere they are what they are');
};


subtest 'several rules' => sub {
    listen_to('two:1', 'two:2', 'two:3', 'h:1');

    my $other = $nginx->native(path => '/elsewhere');
    $other->ok('join', channel => $_) for 'two:2', 'h:1';

    http()->post('/two/x', '{ "req": 1 }', headers => {
        'Content-Type' => 'application/json',
        script(send => response(200,
            [ $json, [ 'X-Accel-Fanout-Channel' => 'h:1' ] ], '{ "res": 1 }'))
    });

    is_deeply([ heard(3) ], [
        { channel => 'two:1', data => { req => 1 } },
        { channel => 'h:1', data => { req => 1 } },
        { channel => 'two:3', data => { res => 1 },
          meta => meta(POST => '/two/x', 200) },
    ], 'each as its rule says, no channel twice');

    is_deeply([ map { [ @$_{qw( channel event data )} ] } pushes($other, 2) ],
              [ [ 'two:2', 'changed', undef ], [ 'h:1', 'changed', undef ] ],
              'to another zone');
};


subtest 'large bodies' => sub {
    listen_to('little', 'large');

    for my $case ([ 100, undef ], [ 101, 'large' ], [ 300_000, 'large' ]) {
        my ($size, $omitted) = @$case;

        for my $length (1, 0) {
            my $r = http()->post('/little/x', '', headers => { script(
                send => "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                      . ($length ? "Content-Length: $size\r\n\r\n"
                                 : "Connection: close\r\n\r\n"),
                fill => $size, close => 1) });

            ok($r->{body} eq pattern($size), "$size bytes are all there");

            my $push = heard();

            is($push->{data}, $omitted ? undef : pattern($size),
               'published' . ($omitted ? ' without' : ''));
            is($push->{meta}{omitted}, $omitted, 'which it says');
        }
    }

    # through memory and temporary files of the proxy

    for my $size (70_000, 200_000, 1024 * 1024, 1024 * 1024 + 1) {
        my $r = http()->get('/large/x', headers => { script(
            send => "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                  . "Connection: close\r\n\r\n",
            fill => $size, close => 1) });

        ok($r->{body} eq pattern($size), "$size bytes are all there");

        my $push = heard();

        ok($size > 1024 * 1024 ? $push->{meta}{omitted} eq 'large'
                               : $push->{data} eq pattern($size), 'and heard');
    }

    # a client that reads late makes the proxy write it to a file

    my $late = IO::Socket::INET->new(Proto => 'tcp') or die "socket: $!";

    $late->sockopt(Socket::SO_RCVBUF(), 4096);
    $late->connect(Socket::pack_sockaddr_in($nginx->port('PORT6'),
                   Socket::inet_aton('127.0.0.1'))) or die "connect: $!";

    my %h = script(send => "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                         . "Content-Length: 1000000\r\n\r\n",
                   fill => 1_000_000);

    print $late "GET /large/x HTTP/1.0\r\nX-Script: $h{'X-Script'}\r\n\r\n";
    ok($nginx->wait_log(qr/an upstream response is buffered to a temporary/),
       'to a file');

    my $got = do { local $/; readline $late };

    ok($got =~ /\r\n\r\n(.*)/s && $1 eq pattern(1_000_000), 'all of it');
    ok(heard()->{data} eq pattern(1_000_000), 'heard from the file as well');
};


subtest 'bodies of requests' => sub {
    listen_to('request');

    for my $size (1, 1000, 30_000, 65_536, 65_537) {
        my $r = http()->post('/request/x', pattern($size),
            headers => { 'Content-Type' => 'text/plain',
                         script(send => response(200, [], 'ok')) });

        is($r->{body}, 'ok', "$size bytes");

        my $push = heard();
        my $large = $size > 65_536;

        ok($large ? !defined $push->{data} : $push->{data} eq pattern($size),
           'are heard');
        is($push->{meta}{omitted}, $large ? 'large' : undef, 'or told');
    }

    http()->post('/request/x', "\x1f\x8b", headers => {
        'Content-Encoding' => 'gzip', script(send => response(200, [], 'ok'))
    });
    is(heard()->{meta}{omitted}, 'encoded', 'compressed');

    http()->delete('/request/x', headers => answered(200, [], 'ok'));
    is_deeply(heard(), { channel => 'request', data => undef,
                         meta => meta(DELETE => '/request/x', 200) }, 'none');

    http()->post('/unread/x', pattern(200_000),
                 headers => answered(200, [], 'ok'));
    is(heard()->{meta}{omitted}, 'unbuffered',
       'one that NGINX did not wait for');

    my @seen = grep { m{^POST /request/x} && length > 65_537 }
               $backend->requests;
    ok(substr($seen[-1], -65_537) eq pattern(65_537),
       'the backend has the request as it was');
};


subtest 'streams' => sub {
    listen_to('stream');

    my $http = $nginx->http;
    my $head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
             . "Connection: close\r\n\r\n";

    my $r = $http->start(GET => '/stream/x', headers => { script(
        send => $head, send => "data: 1\n\n", wait => 'more',
        send => "data: 2\n\n", wait => 'end', close => 1) });

    is($http->next_event->{data}, 1, 'an event passes at once');
    silent('and is not published');
    $backend->let('more');
    is($http->next_event->{data}, 2, 'so does the next');
    $backend->let('end');
    is(heard()->{data}, "data: 1\n\ndata: 2\n\n", 'at the end, all of it');

    my ($n, $rss) = (30_000_000, $nginx->rss($workers[0]));
    my $long = $nginx->http(worker => $workers[0]);

    $r = $long->get('/stream/x', timeout => 60, headers => {
        script(send => $head, fill => $n, close => 1)
    });
    is(length $r->{body}, $n, 'a long one');
    is(heard()->{meta}{omitted}, 'large', 'is too large');
    cmp_ok($nginx->rss($workers[0]) - $rss, '<', 8_000_000,
           'and was not kept');
};


subtest 'broken off' => sub {
    my $before = counter('broadcast_skipped');

    # the backend

    my $short = { script(
        send => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
        close => 1) };

    eval { $nginx->http->get('/api/x', headers => $short, timeout => 5) };
    silent('a read');

    eval { $nginx->http->post('/api/x', '', headers => $short,
                              timeout => 5) };
    is_deeply([ @{ heard() }{qw( data meta )} ],
              [ undef, meta(POST => '/api/x', 200, 'incomplete') ],
              'a write that a backend has not told all of');

    # before anything was said

    my $r = $nginx->http->post('/api/x', '',
                               headers => { script(close => 1) });
    is($r->{status}, 502, 'no answer');
    silent('is not published');

    # the client

    for my $path (qw( api stream )) {
        listen_to($path);

        my $gone = $nginx->http;

        $gone->start(POST => "/$path/x", headers => { script(
            send => "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
            fill => 50_000, wait => "gone-$path", fill => 50_000) });
        $gone->disconnect;
        is(heard()->{meta}{omitted}, 'incomplete',
           "a client that does not wait: $path");
        $backend->let("gone-$path");
    }

    my $silent = $nginx->http;
    my $n = $backend->requests;

    $silent->connection->send_bytes($silent->format_request(
        POST => '/api/x', headers => { script(wait => 'never',
            send => response(200, [], 'x')) }));
    $backend->wait_requests($n + 1);
    $silent->disconnect;
    ok($nginx->wait_log(qr/client prematurely closed connection.*sending request|client prematurely closed connection, so upstream connection is closed too while (?:reading response header|sending)/),
       'gone before the answer');
    silent('nobody knows what became of it');
    $backend->let('never');

    is(counter('broadcast_skipped'), $before + 3, 'counted');
};


subtest 'with other modules' => sub {
    listen_to(qw( gzip sub ssi mirror mirrored auth check error fallback page
                  redirect hidden cache return ));

    my $text = 'before ' x 200;
    my $r = http()->post('/gzip/x', '', headers => {
        'Accept-Encoding' => 'gzip',
        script(send => response(200, [ $plain ], $text))
    });
    is($r->{headers}{'content-encoding'}, 'gzip', 'compressed by NGINX');
    is(heard()->{data}, $text, 'gzip: heard as the backend sent it');

    SKIP: {
        skip 'no sub_filter', 2 if !has('http_sub_module');

        $r = http()->post('/sub/x', '',
                          headers => answered(200, [ $plain ], 'before'));
        is($r->{body}, 'after', 'replaced');
        is(heard()->{data}, 'before', 'sub_filter: likewise');
    }

    $r = http()->post('/ssi/x', '', headers => answered(200, [ $plain ],
        '<!--# include virtual="/return/x" -->.'));
    is($r->{body}, '{ "returned" : true }.', 'included');
    is_deeply([ @{ heard() }{qw( channel data )} ],
              [ 'ssi', '<!--# include virtual="/return/x" -->.' ],
              'SSI: likewise, and what is included is none');

    my $n = $backend->requests;
    $r = http()->post('/mirror/x', 'body',
                      headers => answered(200, [ $plain ], 'm'));
    ok($backend->wait_requests($n + 2), 'two requests');
    is_deeply([ @{ heard() }{qw( channel data )} ], [ 'mirror', 'm' ]);
    silent('mirror: only the one that is answered');

    my %check = script(send => response(204, [ [ 'X-User' => 'ann' ],
                       [ 'X-Accel-Fanout-Channel' => 'check' ] ]));

    $r = http()->post('/auth/x', 'body', headers => {
        'X-Check' => $check{'X-Script'},
        script(send => response(200, [ $plain ], 'a'))
    });
    is_deeply([ @{ heard() }{qw( channel data from )} ],
              [ 'auth', 'a', { user => 'ann' } ], 'auth_request: the user');

    my %no = script(send => response(403, []));

    $r = http()->post('/auth/x', 'body', headers => {
        'X-Check' => $no{'X-Script'}, script(send => response(200, [], 'a'))
    });
    is($r->{status}, 403, 'denied');
    silent('nothing');

    $r = http()->post('/error/x', '', headers => answered(500, [], 'x'));
    is($r->{body}, '{"fallback":true}', 'error_page with a named location');
    is_deeply([ @{ heard() }{qw( channel data )} ],
              [ 'fallback', { fallback => Fanout::JSON::true } ],
              'what answers decides');

    $r = http()->post('/error/x', '', headers => answered(502, [], 'x'));
    is($r->{body}, 'page', 'error_page with a path');
    is_deeply([ @{ heard() }{qw( channel data meta )} ],
              [ 'page', 'page', meta(GET => '/error/x', 200) ], 'the same');

    write_file($nginx->dir . '/html/f.json', '{ "f" : 1 }');

    $r = http()->post('/redirect/x', '', headers => answered(200,
        [ [ 'X-Accel-Redirect' => '/hidden/f.json' ],
          [ 'X-Accel-Fanout-Channel' => 'redirect' ] ], 'x'));
    is($r->{body}, '{ "f" : 1 }', 'X-Accel-Redirect');
    unlike($r->{head}, qr/x-accel/i, 'no header is left');
    is_deeply([ @{ heard() }{qw( channel data )} ], [ 'hidden', { f => 1 } ],
              'the same');

    for my $method (qw( GET POST )) {
        for my $cached ('MISS', 'HIT') {
            $r = http()->request($method => '/cache/x', headers => answered(
                200, [ $plain, [ 'X-Accel-Fanout-Event' => 'e' ],
                       [ 'Cache-Control' => 'max-age=60' ] ], $text));

            is($r->{headers}{'x-cache'}, $cached, "$method: $cached");
            is($r->{body}, $text, 'all of it');
            unlike($r->{head}, qr/x-accel/i, 'no header is left');
            is(heard()->{data}, $text, 'heard') if $cached eq 'MISS';
            silent('not from the cache') if $cached eq 'HIT';
        }
    }
};


sub has {
    my ($module) = @_;

    return `@{[ Fanout::Nginx::binary() ]} -V 2>&1` =~ /$module\b/;
}


subtest 'any content handler' => sub {
    listen_to(qw( return file dav cgi ));

    is(http()->post('/return/x', '')->{body}, '{ "returned" : true }');
    is_deeply(heard()->{data}, { returned => Fanout::JSON::true }, 'return');

    my $dir = $nginx->dir;

    write_file("$dir/html/file", pattern(50_000));
    write_file("$dir/html/long", pattern(200_000));

    ok(http()->get('/file/file')->{body} eq pattern(50_000), 'a file');
    ok(decode_base64(heard()->{data}) eq pattern(50_000), 'is heard');
    ok(http()->get('/file/long')->{body} eq pattern(200_000), 'a long one');
    is(heard()->{meta}{omitted}, 'large', 'is not');

    my $r = http()->get('/file/file', headers => { Range => 'bytes=0-9' });

    is($r->{body}, '0123456789', 'a range');
    my $m = heard();

    is($m->{meta}{omitted}, 'partial', 'is none of it');
    is($m->{meta}{status}, 206, 'nor a 200');

    # ranges that are longer than the file, with what is put between them

    write_file("$dir/html/short", pattern(1_040));

    for (['short', map { $_ * 5 } 0 .. 199], ['tiny', 0, 4]) {
        my ($name, @at) = @$_;

        write_file("$dir/html/tiny", 'SEE-THIS') if $name eq 'tiny';

        $r = http()->get("/file/$name", headers => {
            Range => 'bytes=' . join ',', map { $_ . '-' . ($_ + 2) } @at });

        is($r->{status}, 206, @at . " ranges of $name");
        like($r->{headers}{'content-type'}, qr{^multipart/byteranges},
             'in parts');

        $m = heard();

        is($m->{data}, undef, 'are no data');
        is($m->{meta}{omitted}, 'partial', 'as they are not the file');
        is($m->{meta}{status}, 206, 'and no 200');
    }

    # what can't be had is an error page, longer than the file

    $r = http()->get('/file/tiny', headers => { Range => 'bytes=100-' });

    is($r->{status}, 416, 'a range behind the end');
    is(($m = heard())->{data}, undef, 'its error page is no data');
    is($m->{meta}{omitted}, 'partial', 'but omitted');

    ok(http()->get('/file/tiny')->{body} eq 'SEE-THIS', 'the whole file');
    is(decode_base64(heard()->{data}), 'SEE-THIS', 'is heard next');

    SKIP: {
        skip 'no WebDAV', 4 if !has('http_dav_module');

        mkdir "$dir/dav";

        is(http()->put('/dav/f', '{"dav":1}')->{status}, 201, 'WebDAV');
        is(heard()->{meta}{status}, 201, 'is heard');
        is(http()->delete('/dav/f')->{status}, 204, 'a deletion');
        is(heard()->{meta}{method}, 'DELETE', 'is heard');
    }

    for my $kind (qw( scgi uwsgi fastcgi )) {
        my $pid = cgi($kind, $nginx->port({ scgi => 'PORT3', uwsgi => 'PORT4',
                                            fastcgi => 'PORT5' }->{$kind}));

        my $r = http()->post("/$kind/x", '');

        waitpid $pid, 0;
        is($r->{status}, 201, $kind);
        is($r->{body}, '{ "cgi": 1 }', 'answers');
        unlike($r->{head}, qr/x-accel/i, 'no header is left');
        is_deeply([ @{ heard() }{qw( event data )} ],
                  [ "of-$kind", { cgi => 1 } ], 'is heard');
    }

    SKIP: {
        skip 'no HTTP/2', 3 if !has('http_v2_module');

        $r = http()->post('/grpc/x', 'x');
        is($r->{body}, '{"grpc":1}', 'grpc');
        unlike($r->{head}, qr/x-accel/i, 'no header is left');
        is_deeply([ @{ heard() }{qw( event data )} ],
                  [ 'of-grpc', { grpc => 1 } ], 'is heard');
    }
};


# one answer, by the protocol

sub cgi {
    my ($kind, $port) = @_;

    my $listen = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 5,
        ReuseAddr => 1) or die "$kind: $!";

    my $pid = fork;
    die "fork: $!" if !defined $pid;
    return $pid if $pid;

    Fanout::Nginx::die_with_parent();
    $SIG{ALRM} = 'DEFAULT';
    alarm 60;

    my $c    = $listen->accept;
    my $text = ($kind eq 'uwsgi' ? 'HTTP/1.1 201 Created' : 'Status: 201')
             . "\r\nContent-Type: application/json\r\n"
             . "X-Accel-Fanout-Event: of-$kind\r\n\r\n" . '{ "cgi": 1 }';

    sysread $c, my $request, 65536;

    if ($kind eq 'fastcgi') {
        my $record = sub {
            my ($type, $data) = @_;
            return pack('CCnnCC', 1, $type, 1, length $data, 0, 0) . $data;
        };

        $text = $record->(6, $text) . $record->(6, '')
              . $record->(3, "\0" x 8);
    }

    syswrite $c, $text;
    close $c;
    POSIX::_exit(0);
}


subtest 'where it is on' => sub {
    listen_to(qw( inherit own silent ));

    for (qw( yes no own )) {
        http()->post("/inherit/$_/x", '',
                     headers => answered(200, [ $plain ], $_));
    }
    http()->post('/inherit/api/channels/silent/messages', '"by the API"');

    is_deeply([ map { [ @$_{qw( channel data )} ] } heard(3) ],
              [ [ 'inherit', 'yes' ], [ 'own', 'own' ],
                [ 'silent', 'by the API' ] ],
              'inherited, off, replaced');
    silent('never what the module answers');
};


subtest 'HTTP/2 and kept connections' => sub {
    SKIP: {
        skip 'no HTTP/2', 3 if !has('http_v2_module')
            || `curl --version 2>&1` !~ /^Features:.*\bHTTP2\b/m;

        my %h = script(send => response(201,
            [ $json, [ 'X-Accel-Fanout-Event' => 'two' ] ], '{ "h" : 2 }'));
        my $uri = 'http://127.0.0.1:' . $nginx->port('PORT1') . '/api/x';

        my $out = `curl -sSi --http2-prior-knowledge -d x -H 'X-Script: $h{'X-Script'}' $uri`;

        like($out, qr/^HTTP\/2 201.*\{ "h" : 2 \}$/s, 'HTTP/2');
        unlike($out, qr/x-accel/i, 'no header is left');
        is_deeply([ @{ heard() }{qw( event data )} ], [ 'two', { h => 2 } ],
                  'is heard');
    }

    listen_to('kept');

    for (1 .. 20) {
        http()->post('/kept/x', '', headers => answered(200, [ $json ], $_));
    }

    is_deeply([ map { $_->{data} } heard(20) ], [ 1 .. 20 ],
              'kept connections to the backend');

    # chunks

    http()->post('/kept/x', '', headers => { script(
        send => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
              . "Content-Type: application/json\r\n\r\n",
        send => "2\r\n[1\r\n", send => "3\r\n, 2\r\n", send => "1\r\n]\r\n",
        send => "0\r\n\r\n") });
    is_deeply(heard()->{data}, [ 1, 2 ], 'chunks');
};


subtest 'the same requests and responses as without' => sub {
    my @cases = (
        [ '/api/1' ], [ '/api/2?a=b%20c' ],
        [ '/api/3', answered(200, [ $json, [ ETag => '"x"' ] ], '{ }') ],
        [ '/api/4', answered(404, [ [ 'Content-Type' => 'text/html' ] ],
                             'no') ],
        [ '/api/5', answered(201, [ [ Location => '/api/5/1' ],
                                    [ 'Set-Cookie' => 'a=b' ],
                                    [ 'Set-Cookie' => 'c=d' ] ], '') ],
        [ '/api/6', answered(303, [ [ Location => '/x' ] ], '') ],
        [ '/api/7', { script(send => "HTTP/1.1 200 OK\r\n\r\nabc",
                             close => 1) } ],
        [ '/api/8', { script(
            send => "HTTP/1.1 200 OK\r\nContent-Length: 150000\r\n\r\n",
            fill => 150_000) } ],
        [ '/api/9', answered(204, []) ],
    );

    my $without = $bare->http;

    for my $method (qw( GET HEAD POST PUT PATCH DELETE OPTIONS )) {
        for my $case (@cases) {
            my ($path, $headers) = @$case;
            my (@answers, @asked);

            next if $method eq 'HEAD' && $headers;

            for my $client ($without, http()) {
                my $r = $client->request($method => $path,
                    $method =~ /^P/ ? (body => '{"b": 1}') : (),
                    headers => { %{ $headers || {} }, 'X-Own' => 'y' });

                push @asked, ($backend->requests)[-1];
                push @answers, join "\n", $r->{body},
                    grep { !/^(?:Date|X-Worker):/ } split /\r\n/, $r->{head};
            }

            ok($answers[0] eq $answers[1], "$method $path: the same response")
                or diag("$answers[0]\n--\n$answers[1]");
            ok($asked[0] eq $asked[1], 'to the same request')
                or diag("$asked[0]\n--\n$asked[1]");
        }
    }

    silent_after_all();
};


# what has come meanwhile does not matter

sub silent_after_all {
    listen_to('mark');
    $http[0]->post('/fanout/channels/mark/messages', '"mark"');

    for my $ear (@ears) {
        ok($ear->next_where(sub { $_[0]{channel} eq 'mark' }), 'so far');
        $ear->drain;
    }
}


subtest 'in order, exactly once' => sub {
    listen_to('table:order');

    # each on one worker after the other, each when the last was answered

    for my $n (1 .. 300) {
        http()->post('/var/x?t=order', '',
                     headers => answered(200, [ $json ], $n));
    }

    is_deeply([ map { $_->{data} } heard(300) ], [ 1 .. 300 ], 'one by one');

    # many at once: each writer's own are in order

    my @writers = map { $nginx->http } 1 .. 8;

    for my $n (1 .. 50) {
        for my $w (0 .. $#writers) {
            my $http = $writers[$w];
            $http->connection->send_bytes($http->format_request(
                POST => '/var/x?t=order', body => '',
                headers => answered(200, [ $json ], "[$w,$n]")));
        }
        $_->read_response for @writers;
    }

    my %got;
    push @{ $got{ $_->{data}[0] } }, $_->{data}[1] for heard(400);

    is_deeply(\%got, { map { $_ => [ 1 .. 50 ] } 0 .. $#writers },
              'many at once');
    silent('no more than that');
};


# a write that has happened is told, whatever becomes of its key

sub keyed {
    my ($where, $user, $key) = @_;

    my $r = http()->post("/$where/x?user=$user&key=$key", '',
                         headers => answered(201, [ $plain ], 'y'));

    $r->{status} == 201 && $r->{body} eq 'y'
        or fail("the response goes as it was: $r->{status}");
}

subtest 'keys that are too many' => sub {
    my $counter = sub {
        $http[0]->get('/small-status')->json->{counters}{ $_[0] }
    };

    keyed('keyed', 'mallory', $_) for 1 .. 150;

    ok(wait_for(sub { $counter->('broadcasts') == 150 }), 'all are published');
    is($counter->('broadcast_failures'), 0, 'none has failed');
    is($counter->('duplicates'), 0, 'none is a duplicate');

    my $limited = $counter->('limited_keys');

    cmp_ok($limited, '>', 50, 'the user holds no more keys than it may');
    is($counter->('limited_user'), $limited, 'for itself');
    ok($nginx->wait_log(qr/\[warn\].*fanout_broadcast to zone "small" does not remember a key: a user holds .*fanout_zone user=/),
       'the log says why');

    keyed('keyed', 'mallory', 1);
    ok(wait_for(sub { $counter->('duplicates') == 1 }), 'a known key is known');

    keyed('keyed', 'mallory', 150) for 1 .. 2;
    ok(wait_for(sub { $counter->('broadcasts') == 152 }),
       'what was not remembered is published again');

    keyed('keyed', 'bob', 1) for 1 .. 2;
    ok(wait_for(sub { $counter->('broadcasts') == 153
                      && $counter->('duplicates') == 2 }),
       'keys of another are remembered');

    keyed('keyed', '', $_) for 1 .. 150;
    ok(wait_for(sub { $counter->('broadcasts') == 303 }),
       'those without a user are published, too');
    cmp_ok($counter->('limited_keys'), '>', $limited + 50,
           'and count for their address');
};


subtest 'a full share of keys' => sub {
    my $status = sub { $http[0]->get('/packed-status')->json };

    keyed('packed', 'a', $_) for 1 .. 400;

    ok(wait_for(sub { $status->()->{counters}{broadcasts} == 400 }),
       'all are published');
    is($status->()->{counters}{broadcast_failures}, 0, 'none has failed');
    cmp_ok($status->()->{zone}{shares}{keys}{refused}, '>', 50, 'the share is full');
    ok($nginx->wait_log(qr/\[warn\].*fanout_broadcast to zone "packed" does not remember a key: the share of the zone for keys is full: fanout_zone keys=/),
       'the log says why');
};


subtest 'a full class' => sub {
    my $failures = sub {
        $http[0]->get('/small-status')->json->{counters}{broadcast_failures}
    };

    my $r = http()->post('/tight/x', 'y' x 40000,
                         headers => answered(201, [ $plain ], 'done'));

    is($r->{status}, 201, 'the response goes');
    is($r->{body}, 'done', 'as it was');
    ok(wait_for($failures), 'one that is not told is counted');
    ok($nginx->wait_log(qr/\[error\].*fanout_broadcast to channel "tight:1" in zone "small" failed: .*fanout_channel share=/),
       'the log says why');
};


subtest 'a worker that dies, a reload' => sub {
    listen_to('table:life');

    my $http = $nginx->http;
    my $n = $backend->requests;

    $http->connection->send_bytes($http->format_request(
        POST => '/var/x?t=life', headers => { script(
            wait => 'reloaded', send => response(200, [ $json ], '1')) }));
    $backend->wait_requests($n + 1);
    $nginx->reload;

    my $late = $nginx->native(path => '/realtime');
    $late->ok('join', channel => 'table:life');
    $backend->let('reloaded');

    is($http->read_response->{body}, '1', 'an old worker answers');
    is($late->next_push->{data}, 1, 'and publishes');

    ok(wait_for(sub { !$nginx->stopping_pids }, 20), 'then it is gone');

    my ($one, $two) = $nginx->worker_pids;
    my $ear = $nginx->native(worker => $two, path => '/realtime');
    $ear->ok('join', channel => 'table:life');

    for my $round (1 .. 3) {
        my ($victim) = grep { $_ != $two } $nginx->worker_pids;

        $nginx->http(worker => $victim)->post('/var/x?t=life', '',
            headers => answered(200, [ $json ], $round));
        $nginx->kill_worker($victim);
    }

    is_deeply([ map { $ear->next_push->{data} } 1 .. 3 ], [ 1 .. 3 ],
              'what was answered was published, whoever dies then');
};


subtest 'mistakes in the configuration' => sub {
    for my $case (
        [ 'nowhere x', qr/unknown zone "nowhere"/ ],
        [ 'app a*', qr/invalid channel "a\*"/ ],
        [ 'app x methods=BREW', qr/unknown method "BREW" in "methods=BREW"/ ],
        [ 'app x methods=POST,', qr/unknown method ""/ ],
        [ 'app x methods=post', qr/unknown method "post"/ ],
        [ 'app x status=6xx', qr/invalid status "6xx" in "status=6xx"/ ],
        [ 'app x status=199', qr/invalid status "199"/ ],
        [ 'app x status=2xx,', qr/invalid status ""/ ],
        [ 'app x body=both', qr/invalid "body=both"/ ],
        [ 'app x meta=yes', qr/invalid "meta=yes"/ ],
        [ 'app x headers=1', qr/invalid "headers=1"/ ],
        [ 'app headers=off', qr/without a channel/ ],
        [ 'app x client=c_12', qr/invalid "client=c_12"/ ],
        [ 'app x event=' . 'e' x 129, qr/invalid "event=eee/ ],
        [ 'app x user=' . 'e' x 256, qr/invalid "user=eee/ ],
        [ 'app x key=k key=l', qr/duplicate parameter "key=l"/ ],
        [ 'app x y', qr/invalid parameter "y"/ ],
        [ 'app x colour=red', qr/invalid parameter "colour=red"/ ],
        [ 'app $nosuch', qr/unknown "nosuch" variable/ ],
        [ 'app x; fanout_broadcast off', qr/is duplicate/ ],
        [ 'off; fanout_broadcast app x', qr/is off here/ ],
        [ 'app x; fanout_broadcast_size 0', qr/at least 1 and less than 16m/ ],
        [ 'app x; fanout_broadcast_size 16m', qr/less than 16m/ ],
    ) {
        my ($text, $error) = @$case;

        $nginx->try_reload($error, servers => '',
            server => "location / { fanout_broadcast $text; }");
        pass(substr $text, 0, 40);
    }
};
