#!/usr/bin/env perl

# fanout_api style=sync: if this fails, an application that was written for
# these routes gets other answers, a change is lost without a word, or a request
# that is wrong does something.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 16m;
        fanout_zone other 2m;
        fanout_channel app table:brief history=10 records=on records_ttl=1s;
        fanout_channel app table:off;
        fanout_channel app table:few records=on fields=2 record=60 records_max=1;
        fanout_channel app * history=100 records=on;
        client_max_body_size 20m;
        client_body_buffer_size 1m;
END
    server => <<'END',
        location /realtime { fanout app; fanout_permit all *; fanout_user $arg_user; }
        location /fanout/  { fanout_api app; }
        location /api/v1/sync/ {
            fanout_api app style=sync;
            fanout_batch 64;
            limit_except POST { allow all; }
        }
        location ~ ^/x/.*/sync/ { fanout_api app style=sync; }
        location /short/ { fanout_api app style=sync; fanout_message_size 100; }
        location /guarded/ { fanout_api app style=sync host=a.test; }
END
);

my $http = $nginx->http;
my $root = '/api/v1/sync';
my $true  = Fanout::JSON::true();
my $false = Fanout::JSON::false();


sub batch {
    my ($changes, %o) = @_;

    my $body = ref $changes ? Fanout::JSON::encode({ changes => $changes }) : $changes;

    return $http->post(($o{root} || $root) . '/batch-changes', $body,
                       headers => { 'Content-Type' => 'application/json' });
}

# the result of one change

sub one {
    my (%change) = @_;

    my $r = batch([ { type => 'update', entityType => 'record', entityId => 'r',
                      tableId => 't', %change } ]);

    return $r->json->{data}{results}[0] || $r->json;
}

sub fields {
    my ($channel, $id) = @_;

    return $http->get("/fanout/channels/$channel/records/$id")->json->{fields};
}

sub field { my ($id, $value) = @_; return { fieldId => $id, oldValue => 'any', newValue => $value } }

# a failure in the shape of all of them

sub wrong {
    my ($r, $status, $code, $message, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    subtest $name => sub {
        my $json = $r->json;

        is($r->{status}, $status, 'status') or diag($r->{body});
        is($r->{headers}{'content-type'}, 'application/json', 'type');
        is_deeply([ sort keys %$json ], [ 'error', 'success' ], 'members');
        is_deeply($json->{success}, $false, 'no success');
        is($json->{error}{code}, $code, 'code');
        like($json->{error}{message}, $message, 'message');
    };
}

sub fails {
    my ($result, $code, $message, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply($result->{success}, $false, "$name: no success")
        or diag(Fanout::JSON::encode($result));
    is($result->{error}{code}, $code, "$name: code");
    like($result->{error}{message}, $message, "$name: message");
}


subtest 'statistics' => sub {
    is_deeply($http->get("$root/stats")->json,
        { success => $true, data => { totalConnections => 0, authenticatedUsers => 0,
                                      tableSubscriptions => 0 } }, 'nobody');

    my @clients = map { $nginx->native(path => "/realtime?user=$_") } qw( ann ann bob ), '';

    $_->ok('join', channel => 'table:1') for @clients;
    $clients[0]->ok('join', channel => 'table:2');

    my $want = { totalConnections => 4, authenticatedUsers => 2, tableSubscriptions => 5 };

    Fanout::Nginx::wait_for(sub {
        $http->get("$root/stats")->json->{data}{totalConnections} == 4
    });

    my $r = $http->get("$root/stats");

    is($r->{status}, 200, 'status');
    is_deeply($r->json, { success => $true, data => $want },
              'connections, users, subscriptions, of all workers');
    is($http->head("$root/stats")->{status}, 200, 'HEAD');
    is_deeply($http->get('/x/1/sync/stats')->json->{data}, $want, 'in a regular expression');

    $_->close for @clients;
};


subtest 'cleanup' => sub {
    one(tableId => 'brief', changes => [ field(a => 1) ]);
    sleep 2;

    my $r = $http->post("$root/cleanup", '');

    is($r->{status}, 200, 'status');

    my $json = $r->json;

    is($json->{message}, 'Stale presence data cleaned up successfully', 'message');
    is_deeply($json->{success}, $true, 'success');
    is_deeply([ grep { !/^(?:more|locks)$/ } sort keys %{ $json->{data} } ],
              [ qw( messages records ) ], 'what it did');
    is($http->get('/fanout/channels/table:brief/records/r')->{status}, 404, 'it is gone');
};


subtest 'the request of the document' => sub {
    my $ear = $nginx->native(path => '/realtime?user=eve');
    $ear->ok('join', channel => 'table:table1');

    my $r = batch(<<'END');
{
  "changes": [
    {
      "type": "update",
      "entityType": "record",
      "entityId": "record1",
      "tableId": "table1",
      "baseId": "base1",
      "userId": "user1",
      "changes": [
        {
          "fieldId": "field1",
          "oldValue": "old",
          "newValue": "new"
        }
      ]
    }
  ]
}
END

    is($r->{status}, 200, 'status');

    my $json = $r->json;
    my $data = $json->{data}{results}[0]{data};

    like(delete $data->{epoch}, qr/^[0-9a-f]{16}$/, 'epoch');
    like(delete $data->{version}, qr/^\d+$/, 'version');
    is_deeply($json, { success => $true, data => { processed => 1, failed => 0, results => [
        { success => $true, data => { offset => 1, created => $true } }
    ] } }, 'answer');

    my $push = $ear->next_push;
    delete @$push{qw( time version )};

    is_deeply($push, { channel => 'table:table1', offset => 1, record => 'record1',
                       created => $true, set => { field1 => 'new' },
                       from => { user => 'user1' } }, 'which is told');
};


subtest 'changes' => sub {
    ok(one(type => 'create', entityId => 'c', changes => [ field(a => { x => [ 1 ] }), field(b => undef) ])
       ->{data}{created}, 'create');
    is_deeply(fields('table:t', 'c'), { a => { x => [ 1 ] }, b => undef }, 'makes it');

    my $result = one(type => 'create', entityId => 'c', changes => [ field(a => 2) ]);
    fails($result, 'conflict', qr/has the version/, 'create again');
    is_deeply($result->{error}{data}{fields}, { a => { x => [ 1 ] }, b => undef }, 'with what there is');

    my $v = one(entityId => 'c', changes => [ field(a => 2), { fieldId => 'b' } ])->{data}{version};
    is_deeply(fields('table:t', 'c'), { a => 2 }, 'update; without newValue a field is unset');

    one(entityId => 'c', changes => [ field(a => 3) ]);

    $result = one(entityId => 'c', version => $v, changes => [ field(a => 4), field(d => 1) ]);
    is_deeply([ @{ $result->{data} }{qw( partial )}, $result->{data}{rejected}{a}{value} ],
              [ $true, 3 ], 'with a version, what was changed since stays');

    fails(one(entityId => 'c', version => $v, changes => [ field(a => 5) ]),
          'conflict', qr/has the version/, 'all was changed since');
    fails(one(type => 'delete', entityId => 'c', version => $v), 'conflict', qr/version/,
          'delete of an older version');
    is_deeply(fields('table:t', 'c'), { a => 3, d => 1 }, 'nothing has changed');

    ok(one(type => 'delete', entityId => 'c')->{data}{version}, 'delete');
    is(fields('table:t', 'c'), undef, 'deletes it');
    fails(one(type => 'delete', entityId => 'c'), 'not_found', qr/no record "c"/, 'delete again');

    one(id => 'key1', changes => [ field(n => 1) ], userId => 'ann');
    is_deeply(one(id => 'key1', changes => [ field(n => 2) ], userId => 'ann')->{data}{duplicate},
              $true, 'the id of a change is its key');
    is_deeply(fields('table:t', 'r'), { n => 1 }, 'done once');

    one(entityType => $_, entityId => 'e', changes => [ field(n => $_) ])
        for qw( field view table base );
    is_deeply(fields('table:t', "$_:e"), { n => $_ }, "an entity of type $_")
        for qw( field view table base );

    one(tableId => undef, baseId => 'b1', entityType => 'table', entityId => 't1',
        changes => [ field(name => "\x{e4}\"") ], timestamp => '2026-01-01T00:00:00Z',
        metadata => { any => [] });
    is_deeply(fields('base:b1', 'table:t1'), { name => "\x{e4}\"" }, 'without a table: of the base');

    ok(one(entityId => 'empty')->{data}{created}, 'without fields');
};


subtest 'one fails, the others do not' => sub {
    my @c = map { { type => 'update', entityType => 'record', entityId => "m$_",
                    tableId => 'm', changes => [ field(n => $_) ] } } 1 .. 3;

    $c[1]{type} = 'replace';

    my $r = batch(\@c);

    is($r->{status}, 200, 'status');
    is_deeply($r->json->{success}, $false, 'not all succeeded');
    is_deeply([ @{ $r->json->{data} }{qw( processed failed )} ], [ 2, 1 ], 'counted');
    is_deeply([ map { $_->{success} } @{ $r->json->{data}{results} } ],
              [ $true, $false, $true ], 'each has its result');
    is_deeply([ map { fields('table:m', "m$_") } 1 .. 3 ], [ { n => 1 }, undef, { n => 3 } ],
              'and is done, or not');

    is_deeply(batch([])->json, { success => $true, data => { results => [], processed => 0,
                                                             failed => 0 } }, 'none');
};


subtest 'a change that is wrong' => sub {
    my $deep = 1;
    $deep = [ $deep ] for 1 .. 121;

    for my $case (
        [ { type => undef },             qr/"type" is "create", "update" or "delete"/ ],
        [ { type => 'move' },            qr/"type" is/ ],
        [ { type => [] },                qr/"type" is not a string/ ],
        [ { entityType => undef },       qr/"entityType" is "record"/ ],
        [ { entityType => 'row' },       qr/"entityType" is "record"/ ],
        [ { entityId => undef },         qr/"entityId" is missing/ ],
        [ { entityId => '' },            qr/"entityId" is missing/ ],
        [ { entityId => 7 },             qr/"entityId" is not a string/ ],
        [ { entityId => "\1" },          qr/the id of a record has/ ],
        [ { entityId => 'x' x 129 },     qr/the id of a record has/ ],
        [ { entityType => 'view', entityId => 'x' x 124 }, qr/the id of a record has/ ],
        [ { tableId => undef },          qr/"tableId" or "baseId" is needed/ ],
        [ { tableId => '*' },            qr/channel/ ],
        [ { tableId => 'x' x 300 },      qr/channel/ ],
        [ { userId => {} },              qr/"userId" is not a string/ ],
        [ { userId => 'x' x 256 },       qr/user/ ],
        [ { id => 'x' x 129 },           qr/key/ ],
        [ { version => 'x' },            qr/version/ ],
        [ { version => -1 },             qr/version/ ],
        [ { changes => {} },             qr/"changes" of a change is not an array/ ],
        [ { changes => [ 1 ] },          qr/element of "changes" is not an object/ ],
        [ { changes => [ { newValue => 1 } ] }, qr/"fieldId" is not a string/ ],
        [ { changes => [ { fieldId => 1, newValue => 1 } ] }, qr/"fieldId" is not a string/ ],
        [ { changes => [ field('' => 1) ] },  qr/name of a field/ ],
        [ { changes => [ field("\0" => 1) ] }, qr/name of a field/ ],
        [ { changes => [ field(a => 1), field(a => 2) ] }, qr/named twice/ ],
        [ { changes => [ field(a => 1), { fieldId => 'a' } ] }, qr/named twice/ ],
        [ { changes => [ { fieldId => 'a', value => 1 } ] }, qr/unknown member 'value'/ ],
        [ { changes => [ field(a => $deep) ] }, qr/"newValue" nests more than 120/ ],
        [ { colour => 'red' },           qr/unknown member 'colour'/ ],
    ) {
        my ($change, $message) = @$case;

        fails(one(entityId => 'wrong', tableId => 'w', changes => [ field(a => 1) ], %$change),
              'bad_request', $message, substr Fanout::JSON::encode($change), 0, 40);
    }

    is($http->get('/fanout/channels/table:w/records')->json->{records}{wrong}, undef,
       'nothing was done');

    fails(batch([ 1 ])->json->{data}{results}[0], 'bad_request', qr/a change is not an object/,
          'a number');

    my @many = map { field("f$_" => $_) } 1 .. 129;

    fails(one(changes => \@many), 'too_many', qr/"fields" of 128/, '129 fields');
    fails(one(changes => [ field(a => 'x' x 65535) ]), 'too_large', qr/"message"|"record"/, '64 KB');
    fails(one(tableId => 'few', changes => [ map { field($_ => 1) } qw( a b c ) ]),
          'too_many', qr/"fields" of 2/, 'fields=');
    fails(one(tableId => 'few', changes => [ field(a => 'x' x 60) ]), 'too_large',
          qr/"record" of 60/, 'record=');
    ok(one(tableId => 'few', changes => [ field(a => 1) ])->{data}{created}, 'that fits');
    fails(one(tableId => 'few', entityId => 's'), 'too_many', qr/"records" of 1/, 'records_max=');
    fails(one(tableId => 'off'), 'forbidden', qr/no records/, 'records=off');
};


subtest 'a request that is wrong' => sub {
    wrong(batch(''), 400, 'bad_request', qr/the body is empty/, 'empty');
    wrong(batch('{'), 400, 'bad_request', qr/not JSON/, 'not JSON');
    wrong(batch("\"\xff\""), 400, 'bad_request', qr/not JSON/, 'not UTF-8');
    wrong(batch('[]'), 400, 'bad_request', qr/the body is not an object/, 'an array');
    wrong(batch('{}'), 400, 'bad_request', qr/"changes" is missing/, 'no changes');
    wrong(batch('{"changes":null}'), 400, 'bad_request', qr/"changes" is missing/, 'null');
    wrong(batch('{"changes":{}}'), 400, 'bad_request', qr/"changes" is not an array/, 'an object');
    wrong(batch('{"changes":[],"more":1}'), 400, 'bad_request', qr/unknown member 'more'/, 'another member');
    wrong(batch('{"changes":[],"changes":[]}'), 400, 'bad_request', qr/duplicate member 'changes'/, 'twice');
    wrong(batch([ ({}) x 65 ]), 400, 'too_many', qr/"changes" of 64/, 'over fanout_batch');
    wrong($http->get("$root/stats?x=1"), 400, 'bad_request', qr/x/, 'an argument');
    wrong($http->get("$root/none"), 404, 'not_found', qr/no such route/, 'another route');
    wrong($http->get("$root/"), 404, 'not_found', qr/no such route/, 'none');
    wrong($http->get("$root/channels"), 404, 'not_found', qr/no such route/, 'a route of the API');
    is($http->post('/fanout/batch-changes', '{}')->{status}, 404, 'nor the other way round');

    my $r = $http->get("$root/batch-changes");

    is($r->{status}, 405, 'another method');
    is($r->{headers}{allow}, 'POST', 'Allow');

    wrong($http->post("$root/batch-changes", '{}',
                      headers => { 'Content-Encoding' => 'gzip' }),
          415, 'bad_request', qr/Content-Encoding/, 'an encoding');
    wrong($http->post("$root/batch-changes", '{}',
                      headers => { Origin => 'https://evil.test' }),
          403, 'forbidden', qr/origin/, 'a page');
    wrong($http->get("$root/stats", headers => { Host => 'evil.test' }),
          403, 'forbidden', qr/host/, 'a host');

    fails(batch([ { type => 'update', entityType => 'record', entityId => 'r', tableId => 't',
                    changes => [ field(a => 'x' x 100) ] } ], root => '/short')
          ->json->{data}{results}[0], 'too_large', qr/"message" of 100/, 'fanout_message_size');

    my $body = '{"changes":' . '[' x 100_000 . ']' x 100_000 . '}';
    is(batch($body)->{status}, 200, 'deep brackets');
    ok($http->get("$root/stats")->json->{success}, 'and the worker lives');
};


subtest 'long batches go in steps' => sub {
    my @c = map { { type => 'update', entityType => 'record', entityId => "s$_", tableId => 's',
                    changes => [ map { field("f$_" => 'x' x 400) } 1 .. 128 ] } } 1 .. 64;

    my $r = batch(\@c);

    is_deeply([ @{ $r->json->{data} }{qw( processed failed )} ], [ 64, 0 ], 'all done')
        or diag(substr $r->{body}, 0, 400);
    is(fields('table:s', 's64')->{f128}, 'x' x 400, 'to the end');
};


subtest 'the configuration' => sub {
    for my $case (
        [ 'fanout_api app style=rest', qr/invalid "style=rest": there is "style=sync"/ ],
        [ 'fanout_api app style=', qr/invalid "style="/ ],
        [ 'fanout_api app style=sync style=sync', qr/duplicate parameter "style=sync"/ ],
        [ 'fanout_status app style=sync', qr/unknown parameter "style=sync"/ ],
    ) {
        my ($text, $error) = @$case;

        $nginx->try_reload($error, server => "location / { $text; }");
        pass($text);
    }
};


$nginx->done_testing;
