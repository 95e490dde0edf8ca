#!/usr/bin/env perl

# fanout_broadcast record=: if this fails, a live table before a REST API shows
# something else than the API has, a write that failed changes it, somebody
# changes a record by what the backend has ignored, or a response is not what
# it would be without the module.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw( time );

use Fanout::Backend;
use Fanout::JSON;
use Fanout::Nginx;


my $backend = Fanout::Backend->start;
my $port    = $backend->port;

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 16m;
        fanout_zone small 2m keys=0%-1%;
        fanout_channel small * records=on;
        fanout_channel app off:*;
        fanout_channel app guarded records=on locks=1m guard=on;
        fanout_channel app few:* records=on fields=3 record=40 records_max=2;
        fanout_channel app * history=100 records=on;
        client_max_body_size 3m;
        client_body_buffer_size 256k;
        large_client_header_buffers 4 200k;
END
    server => <<"END",
        location /realtime { fanout app; fanout_permit all *; fanout_user eva; }
        location /fanout/  { fanout_api app; }
        location = /status { fanout_status app; }

        location ~ ^/api/(?<table>[\\w:]+)(?:/(?<id>[^/]*))?\$ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app \$table record=\$id user=\$http_x_user
                client=\$http_fanout_client key=\$http_x_key;
            fanout_broadcast_size 128k;
        }
        location ~ ^/sent/(?<table>[\\w:]+)(?:/(?<id>[^/]*))?\$ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app \$table record=\$id body=request;
        }
        location /unread/ {
            proxy_pass http://127.0.0.1:$port;
            proxy_request_buffering off;
            client_body_buffer_size 8k;
            fanout_broadcast app unread record=r body=request;
        }
        location /named/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app;
        }
        location /small/ { fanout_api small; }
        location /keyed/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast small keyed record=r user=ann key=\$http_x_key;
        }
        location /deaf/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app deaf record=r headers=off;
        }
        location /both/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app both record=r;
            fanout_broadcast app both event=wrote meta=off;
            fanout_broadcast app both record=other;
            fanout_broadcast app both:sent record=r body=request;
        }
        location /little/ {
            proxy_pass http://127.0.0.1:$port;
            fanout_broadcast app little record=r;
            fanout_broadcast_size 100;
        }
END
);

my @http = map { $nginx->http(worker => $_) } $nginx->worker_pids;
my $turn = 0;

my $json = [ 'Content-Type' => 'application/json' ];


# A write: its path, what is sent, and what the backend answers: [ status, body,
# header => value … ]. The client has to have just that.

sub does {
    my ($method, $path, $sent, $answer, %h) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my ($status, $body, @more) = @$answer;

    $body = Fanout::JSON::encode($body) if ref $body;

    my @headers = $json;
    push @headers, [ splice @more, 0, 2 ] while @more;

    my $r = $http[$turn++ % @http]->request($method, $path,
        defined $sent ? (body => ref $sent ? Fanout::JSON::encode($sent)
                                           : $sent) : (),
        headers => { 'Content-Type' => 'application/json', %h,
                     script(send => response($status, \@headers, $body)) });

    if ($r->{status} != $status || $r->{body} ne (defined $body ? $body : '')
        || $r->{head} =~ /x-accel-fanout/i)
    {
        fail("$method $path: the client has another response");
        diag("$r->{head}\n$r->{body}");
    }
}

sub records {
    my ($channel) = @_;

    my $r = $http[$turn++ % @http]->get("/fanout/channels/$channel/records");

    my $all = $r->json->{records} || {};

    return { map { $_ => $all->{$_}{fields} } keys %$all };
}

sub has {
    my ($channel, $want, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply(records($channel), $want, $name);
}

sub version {
    my ($channel, $id) = @_;

    return $http[0]->get("/fanout/channels/$channel/records/$id")->json->{version};
}

sub counter { $http[0]->get('/status')->json->{counters}{ $_[0] } }

# what a block adds to a counter

sub added {
    my ($name, $do) = @_;

    my $before = counter($name);
    $do->();

    return counter($name) - $before;
}


subtest 'a table' => sub {
    my $ear = $nginx->native(path => '/realtime');
    $ear->ok('join', channel => 'tasks');

    does(POST => '/api/tasks', { title => 'a' },
         [ 201, { id => 7, title => 'a', done => undef } ],
         'X-User' => 'ann', 'Fanout-Client' => $ear->client);

    my $push = $ear->next_push;
    delete @$push{qw( offset time )};

    is_deeply($push, {
        channel => 'tasks', record => '7', version => 1, created => Fanout::JSON::true(),
        set => { id => 7, title => 'a', done => undef },
        from => { user => 'ann', client => $ear->client },
    }, 'a record is made, by the id in the response, and told to the writer too');

    does(PATCH => '/api/tasks/7', { done => 1 },
         [ 200, { id => 7, done => Fanout::JSON::true(), due => undef } ]);

    has('tasks', { 7 => { id => 7, title => 'a', done => Fanout::JSON::true(),
                          due => undef } },
        'PATCH sets what the response has, null is a value');

    $push = $ear->next_push;
    is_deeply($push->{set}, { done => Fanout::JSON::true(), due => undef },
              'only what is another value is told');

    does(PUT => '/api/tasks/7', {}, [ 200, { id => 7, title => 'b' } ]);
    has('tasks', { 7 => { id => 7, title => 'b' } }, 'PUT replaces all fields');

    is_deeply([ sort @{ $ear->next_push->{unset} } ], [ 'done', 'due' ],
              'which unsets the others');

    is(added(broadcasts => sub {
        does(PUT => '/api/tasks/7', {}, [ 200, { id => 7, title => 'b' } ]);
    }), 0, 'the same again changes nothing');

    does(POST => '/api/tasks/8', {}, [ 200, { title => 'c' } ]);
    does(POST => '/api/tasks/8', {}, [ 200, { more => [ 1, 2 ] } ]);
    has('tasks', { 7 => { id => 7, title => 'b' },
                   8 => { title => 'c', more => [ 1, 2 ] } }, 'POST merges');

    does(DELETE => '/api/tasks/7', undef, [ 204 ]);
    does(DELETE => '/api/tasks/8', undef, [ 200, 'gone' ]);
    has('tasks', {}, 'DELETE deletes, whatever the body');

    is(added(broadcast_failures => sub {
        does(DELETE => '/api/tasks/8', undef, [ 204 ]);
    }), 0, 'what is not there need not be deleted');
};


subtest 'ids in a response' => sub {
    does(POST => '/api/ids', {}, [ 201, qq({ "id" : "a\\/\\u00e4\\"", "n": 1 }) ]);
    does(POST => '/api/ids', {}, [ 201, '{"id":-1.50,"n":2}' ]);
    does(POST => '/api/ids/', {}, [ 201, '{"n":3,"\u0069d":"x"}' ]);

    is_deeply([ sort map { Fanout::JSON::encode($_) } keys %{ records('ids') } ],
              [ sort map { Fanout::JSON::encode($_) } "a/\x{e4}\"", '-1.50', 'x' ],
              'strings and numbers');

    is(added(broadcast_failures => sub {
        does(POST => '/api/ids', {}, [ 201, $_ ])
            for '{"n":1}', '{"id":null}', '{"id":{}}', '{"id":true}',
                '{"id":""}', '{"id":"\u0001"}', '{"id":"' . 'x' x 129 . '"}',
                '{"ID":1}';
    }), 8, 'all else is none');

    does(POST => '/sent/ids', { id => 9, n => 1 }, [ 201, { id => 10 } ]);
    is(scalar keys %{ records('ids') }, 3, 'an id that a client sends is none');
};


subtest 'the body of the request' => sub {
    does(POST => '/sent/s/1', { a => 1, b => undef, c => { x => 1, y => undef } }, [ 204 ]);
    has('s', { 1 => { a => 1, b => undef, c => { x => 1, y => undef } } },
        'POST: null is a value');

    does(PATCH => '/sent/s/1', '{"a":null, "b" : 2, "none":null, "c":{"z":null}}', [ 204 ]);
    has('s', { 1 => { b => 2, c => { z => undef } } },
        'PATCH: null removes, an object replaces one');

    does(PUT => '/sent/s/1', { d => undef }, [ 200, 'not JSON' ]);
    has('s', { 1 => { d => undef } }, 'PUT: null is a value');

    does(PUT => '/sent/s/1', {}, [ 200, 'x' ]);
    has('s', { 1 => {} }, 'no fields');

    does(DELETE => '/sent/s/1', { e => 1 }, [ 204 ]);
    has('s', {}, 'DELETE');
};


subtest 'only a success' => sub {
    does(PUT => '/api/only/1', {}, [ 200, { a => 1 } ]);

    is(added(broadcast_failures => sub {
        for my $method (qw( POST PUT PATCH DELETE )) {
            does($method => '/api/only/1', {}, [ $_, { a => 2 } ])
                for 300, 302, 400, 404, 409, 412, 422, 500, 503;
        }
    }), 0, 'is no failure');

    does(GET => '/api/only/1', undef, [ 200, { a => 3 } ]);
    does(OPTIONS => '/api/only/1', undef, [ 200, { a => 3 } ]);
    does(PUT => '/named/x', {}, [ 409, { a => 4 },
         'X-Accel-Fanout-Channel' => 'only', 'X-Accel-Fanout-Record' => 1 ]);

    has('only', { 1 => { a => 1 } }, 'nothing else changes a record');

    eval { $nginx->http->put('/api/only/1', '{}', headers => {
        script(send => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                     . "Content-Length: 99\r\n\r\n{\"a\":5}", close => 1) }) };

    has('only', { 1 => { a => 1 } }, 'a body that breaks off neither');
    ok($nginx->wait_log(qr/record "1" of channel "only" .* failed: the response broke off/),
       'which is logged');
};


subtest 'what the backend says' => sub {
    does(POST => '/api/h', {}, [ 201, { a => 1, b => 1 }, 'X-Accel-Fanout-Record' => 'r' ]);
    does(PATCH => '/api/h/x', {}, [ 200, { c => 1 }, 'x-accel-fanout-record' => 'r' ]);
    has('h', { r => { a => 1, b => 1, c => 1 } }, 'the record');

    my $v = version('h', 'r');

    does(PATCH => '/api/h/r', {}, [ 200, { a => 2 } ]);
    does(PATCH => '/api/h/r', {},
         [ 200, { a => 3, b => 3 }, 'X-Accel-Fanout-Base' => $v ]);

    has('h', { r => { a => 2, b => 3, c => 1 } },
        'what was changed since the base stays');
    ok($nginx->wait_log(qr/\[warn\].*record "r" of channel "h" in zone "app" was in part refused: fields/),
       'which is logged');

    is(added(broadcast_failures => sub {
        does(PATCH => '/api/h/r', {}, [ 200, { a => 4 }, 'X-Accel-Fanout-Base' => $v ]);
        does(DELETE => '/api/h/r', undef, [ 204, undef, 'X-Accel-Fanout-Base' => $v ]);
        does(POST => '/api/h/r', {}, [ 200, { d => 4 }, 'X-Accel-Fanout-Base' => 1e6 ]);
        does(PATCH => '/api/h/gone', {}, [ 200, { a => 4 }, 'X-Accel-Fanout-Base' => 5 ]);
    }), 0, 'a conflict is no failure');
    has('h', { r => { a => 2, b => 3, c => 1 } }, 'it changes nothing');
    ok($nginx->wait_log(qr/was refused: the record was changed since/), 'is logged');
    ok($nginx->wait_log(qr/record "gone" .* was refused: the record of .* is not there/), 'too');

    is(added(broadcast_failures => sub {
        does(PATCH => '/api/h/r', {}, [ 200, { a => 5 }, 'X-Accel-Fanout-Base' => $_ ])
            for 'x', -1, '"3"', '99999999999999999999';
    }), 4, 'what is no version is a failure');

    does(PUT => '/api/h/r', {}, [ 200, { a => 2, e => 1 },
                                  'X-Accel-Fanout-Base' => version('h', 'r') ]);
    has('h', { r => { a => 2, e => 1 } }, 'PUT with the version as the base');

    does(DELETE => '/api/h/r', undef,
         [ 204, undef, 'X-Accel-Fanout-Base' => version('h', 'r') ]);
    has('h', {}, 'DELETE with it');

    does(POST => '/named/x', {}, [ 200, { n => 1 },
         'X-Accel-Fanout-Channel' => 'n1', 'X-Accel-Fanout-Channel' => 'n2',
         'X-Accel-Fanout-Record' => 'r' ]);
    has($_, { r => { n => 1 } }, "the record and its channel: $_") for qw( n1 n2 );

    does(DELETE => '/named/x', undef, [ 204, undef,
         'X-Accel-Fanout-Channel' => 'n1', 'X-Accel-Fanout-Record' => 'r' ]);
    has('n1', {}, 'deleted there');

    does(PATCH => '/deaf/x', {}, [ 200, { n => 1 },
         'X-Accel-Fanout-Record' => 's', 'X-Accel-Fanout-Base' => 'x' ]);
    has('deaf', { r => { n => 1 } }, 'headers=off');
};


subtest 'a record and a message' => sub {
    my $ear = $nginx->native(path => '/realtime');
    $ear->ok('join', channel => $_) for qw( both both:sent );

    does(POST => '/both/x', '{"\u0073":"\u0041"}', [ 200, '{"\u0061":"\u0062", "c":1}' ]);

    my @got = map { delete @$_{qw( time version )}; $_ } map { $ear->next_push } 1 .. 3;

    is_deeply([ sort { $a->{channel} cmp $b->{channel} || $a->{offset} <=> $b->{offset} } @got ], [
        { channel => 'both', offset => 1, record => 'r',
          created => Fanout::JSON::true(), set => { a => 'b', c => 1 } },
        { channel => 'both', offset => 2, event => 'wrote', data => { a => 'b', c => 1 } },
        { channel => 'both:sent', offset => 1, record => 'r',
          created => Fanout::JSON::true(), set => { s => 'A' } },
    ], 'each once, in the order of the directives') or diag(Fanout::JSON::encode(\@got));
};


subtest 'what can not be done' => sub {
    does(PUT => "/api/$_/r", {}, [ 200, { a => 1 } ]) for qw( bad few:1 );

    my %fields = map { ("f$_" => 1) } 1 .. 129;

    my @cases = (
        [ '/api/bad/r', '[{"a":2}]', 'not a JSON object' ],
        [ '/api/bad/r', '"x"', 'not a JSON object' ],
        [ '/api/bad/r', '', 'not a JSON object' ],
        [ '/api/bad/r', '{"a":2', 'not a JSON object' ],
        [ '/api/bad/r', '{"a":2} {}', 'not a JSON object' ],
        [ '/api/bad/r', "{\"a\":\"\xff\"}", 'not a JSON object' ],
        [ '/api/bad/r', '{"a":' x 121 . '1' . '}' x 121, 'not a JSON object' ],
        [ '/api/bad/r', '{"a":2,"":1}', 'not a field' ],
        [ '/api/bad/r', '{"a":2,"\u0000":1}', 'not a field' ],
        [ '/api/bad/r', '{"a":2,"' . 'x' x 129 . '":1}', 'not a field' ],
        [ '/api/bad/r', '{"a":2,"\u0061":1}', 'not a field' ],
        [ '/api/bad/r', \%fields, 'more fields than a record' ],
        [ '/api/bad/r', { a => 'x' x 65536 }, '"fanout_channel record=" of 65536' ],
        [ '/api/few:1/r', { map { ("f$_" => 1) } 1 .. 4 }, '"fanout_channel fields=" of 3' ],
        [ '/api/few:1/r', { a => 'x' x 40 }, '"fanout_channel record=" of 40' ],
        [ '/api/off:1/r', { a => 1 }, 'no records: fanout_channel records=' ],
        [ '/little/x', { a => 'x' x 100 }, 'over fanout_broadcast_size' ],
    );

    for my $case (@cases) {
        my ($path, $body, $reason) = @$case;

        is(added(broadcast_failures => sub { does(PUT => $path, {}, [ 200, $body ]) }),
           1, "counted: $reason");
        ok($nginx->wait_log(qr/\[error\].*record "r" of channel .* failed: .*\Q$reason\E/),
           'and logged');
    }

    for (2 .. 4) { does(PUT => "/api/few:1/r$_", {}, [ 200, { a => 1 } ]) }
    is(scalar keys %{ records('few:1') }, 2, 'records_max=');
    ok($nginx->wait_log(qr/over the limit "fanout_channel records_max=" of 2/), 'is logged');

    does(PUT => '/api/bad/r', {}, [ 200, '{"a":2}', 'Content-Encoding' => 'gzip' ]);
    ok($nginx->wait_log(qr/failed: the body has a Content-Encoding/), 'encoded');

    does(PUT => '/unread/x', { a => 'x' x 200000 }, [ 200, { a => 2 } ]);
    ok($nginx->wait_log(qr/failed: the body of the request was not kept/), 'not kept');

    is(added(broadcast_failures => sub {
        does(PUT => '/api/bad/' . 'x' x 129, {}, [ 200, { id => 'r', a => 2 } ]);
        does(PUT => '/api/bad/%01', {}, [ 200, { id => 'r', a => 2 } ]);
        does(PUT => '/api/bad/x%FF', {}, [ 200, { id => 'r', a => 2 } ]);
        does(DELETE => '/api/bad', undef, [ 200, { id => 'r' } ]);
    }), 4, 'an invalid id is not replaced by that of the body, nor one of DELETE');

    has('bad', { r => { a => 1 } }, 'nothing has changed');
};


subtest 'a client does not fill the log' => sub {
    my $start = time;

    is(added(broadcast_failures => sub {
        does(PUT => "/api/off:2/flood$_", {}, [ 200, { a => 1 } ]) for 1 .. 100;
    }), 100, 'counted');

    my $lines = () = $nginx->log_like(qr/record "flood/);
    my $took  = time - $start;

    # a slow machine takes long enough for more: one a second and worker

    cmp_ok($lines, '<=', 10 + 2 * $took, 'the log has a few lines');
};


subtest 'keys' => sub {
    my @h = ('X-User' => 'ann', 'X-Key' => 'k1');

    does(PATCH => '/api/k/r', {}, [ 200, { n => 1 } ], @h);

    is(added(duplicates => sub {
        does(PATCH => '/api/k/r', {}, [ 200, { n => 2 } ], @h);
    }), 1, 'a second write with the key is a duplicate');
    has('k', { r => { n => 1 } }, 'and changes nothing');

    does(PATCH => '/api/k/r', {}, [ 200, { n => 3 } ], 'X-User' => 'bob', 'X-Key' => 'k1');
    has('k', { r => { n => 3 } }, 'keys are of a user');

    does(PATCH => '/keyed/x', {}, [ 200, { n => $_ } ], 'X-Key' => "key$_") for 1 .. 150;
    is($http[0]->get('/small/channels/keyed/records/r')->json->{fields}{n}, 150,
       'where no more keys are remembered, records are changed all the same');
    ok($nginx->wait_log(qr/fanout_broadcast to zone "small" does not remember a key/),
       'which is logged');
};


subtest 'a lock' => sub {
    my $ann = $nginx->native(path => '/realtime');
    $ann->ok('join', channel => 'guarded');
    $ann->ok('lock', channel => 'guarded', name => $_) for qw( r r.n );

    does(PATCH => '/api/guarded/r', {}, [ 200, { n => 1 } ]);
    has('guarded', { r => { n => 1 } }, 'guards nothing that the backend has done');

    does(DELETE => '/api/guarded/r', undef, [ 204 ]);
    has('guarded', {}, 'nor a delete');
};


subtest 'many channels, many fields' => sub {
    my %fields = map { ("field$_" => 'x' x 400) } 1 .. 128;

    my $t = time;

    does(PUT => '/named/x', {}, [ 200, \%fields, 'X-Accel-Fanout-Record' => 'big',
         map { ('X-Accel-Fanout-Channel' => "c$_") } 1 .. 64 ]);

    cmp_ok(time - $t, '<', 2, 'take a moment');
    is_deeply(records("c$_")->{big}, \%fields, "in channel c$_") for 1, 64;
};


subtest 'the configuration' => sub {
    for my $case (
        [ 'x event=a', qr/"record=" of "fanout_broadcast" conflicts with "event="/ ],
        [ 'x meta=on', qr/conflicts with "meta="/ ],
        [ 'x body=none', qr/conflicts with "body=none"/ ],
        [ 'x methods=any', qr/conflicts with "methods="/ ],
        [ 'x methods=GET,PUT', qr/conflicts with "methods="/ ],
        [ 'x status=any', qr/conflicts with "status="/ ],
        [ 'x status=201,3xx', qr/conflicts with "status="/ ],
        [ 'x record=s', qr/duplicate parameter "record=r"/ ],
    ) {
        my ($text, $error) = @$case;

        $nginx->try_reload($error,
            server => "location / { fanout_broadcast app $text record=r; }");
        pass($text);
    }

    $nginx->try_reload($_->[1], server => "location / { fanout_broadcast app x $_->[0]; }"),
        pass($_->[0])
        for [ 'record=' . 'r' x 129, qr/invalid "record=rrr/ ],
            [ 'record=$nosuch', qr/unknown "nosuch" variable/ ];
};


$nginx->done_testing;
