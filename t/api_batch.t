#!/usr/bin/env perl

# Batch and broadcast of the HTTP API: if this fails, one bad operation spoils
# the others, a result belongs to another operation than the caller thinks, or
# a message to many channels misses some.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_channel app * history=100;
        client_max_body_size 4m;
END
    server => <<'END',
        location /fanout/ { fanout_api app; }
        location /few/    { fanout_api app; fanout_batch 3; fanout_message_size 100;
                            client_body_buffer_size 1k; }
END
);

my $http = $nginx->http;
my $true = Fanout::JSON::true();


sub json    { Fanout::JSON::encode($_[0]) }
sub batch   { $http->post('/fanout/batch', json([ @_ ])) }
sub history { $http->get("/fanout/channels/$_[0]/messages")->json }

sub refused {
    my ($r, $status, $code, $message, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is("$r->{status} " . $r->json->{error}{code}, "$status $code", $name);
    like($r->json->{error}{message}, $message, "$name: message");
}

sub failed {
    my ($result, $code, $message, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    ok(!exists $result->{ok}, "$name: not ok");
    is($result->{error}{code}, $code, "$name: code");
    like($result->{error}{message}, $message, "$name: message");
}


subtest 'operations' => sub {
    my $r = batch(
        { op => 'publish', channel => 'a', data => { x => [ 1 ] } },
        { op => 'publish', channel => 'a', data => 'text', event => 'e', user => 'ann',
          key => 'k', meta => { m => 1 } },
        { op => 'publish', channel => 'a', data => 'again', user => 'ann', key => 'k' },
        { op => 'publish', channel => 'a', data => '/wA=', enc => 'base64' },
        { op => 'publish', channel => 'a', data => 'passing', store => Fanout::JSON::false() },
        { op => 'publish', channel => 'b', data => undef },
        { op => 'history', channel => 'a' },
        { op => 'history', channel => 'a', limit => 1, before => 3 },
        { op => 'info', channel => 'a' },
        { op => 'purge', channel => 'b', reason => 'tidy' },
        { op => 'history', channel => 'b' },
    );

    is($r->{status}, 200);
    is($r->{headers}{'content-type'}, 'application/json');

    my @r = map { $_->{ok} } @{ $r->json };
    my $epoch = $r[0]{epoch};

    is(scalar @r, 11, 'as many results');
    is($r[0]{offset}, 1, 'first offset');
    is_deeply($r[2], { %{ $r[1] }, duplicate => $true }, 'a duplicate');
    is($r[4]{offset}, 4, 'what is not stored takes an offset');
    is($r[5]{offset}, 1, 'null is data');

    delete $_->{time} for @{ $r[6]{messages} };

    is_deeply($r[6], { epoch => $epoch, offset => 4, messages => [
        { offset => 1, data => { x => [ 1 ] } },
        { offset => 2, data => 'text', event => 'e', key => 'k', meta => { m => 1 },
          from => { user => 'ann' } },
        { offset => 3, data => '/wA=', enc => 'base64' },
    ] }, 'history');

    is_deeply([ map { $_->{offset} } @{ $r[7]{messages} } ], [2], 'a page');
    is($r[7]{next}, 2, 'that says where to go on');
    is($r[8]{messages}, 3, 'info');
    isnt($r[9]{epoch}, $r[5]{epoch}, 'a new epoch after the purge');
    is_deeply($r[10], { epoch => $r[9]{epoch}, offset => 0, messages => [] }, 'empty');

    $r = batch({ op => 'history', channel => 'a', since => { epoch => $epoch, offset => 2 } });
    is_deeply([ map { $_->{offset} } @{ $r->json->[0]{ok}{messages} } ], [3], 'since');
    is($r->json->[0]{ok}{recovered}, $true, 'recovered');

    is_deeply(batch()->json, [], 'none at all');
};


subtest 'if' => sub {
    my $r = batch(
        { op => 'publish', channel => 'if', data => 1 },
    )->json->[0]{ok};

    my $at = { epoch => $r->{epoch}, offset => 1 };

    $r = batch(
        { op => 'publish', channel => 'if', data => 2, if => $at },
        { op => 'publish', channel => 'if', data => 3, if => $at },
    )->json;

    is($r->[0]{ok}{offset}, 2, 'it holds');
    failed($r->[1], 'conflict', qr/is at/, 'it does not');
    is_deeply($r->[1]{error}{data}, { epoch => $at->{epoch}, offset => 2 }, 'what is there');
};


subtest 'errors are of one operation' => sub {
    my %p = (op => 'publish', channel => 'err', data => 1);

    my @bad = (
        [ 5, 'bad_request', qr/object/ ],
        [ [], 'bad_request', qr/object/ ],
        [ {}, 'bad_request', qr/"op" is missing/ ],
        [ { op => 1, channel => 'err' }, 'bad_request', qr/"op"/ ],
        [ { op => 'join', channel => 'err' }, 'unknown_op', qr/"join"/ ],
        [ { op => 'publish', data => 1 }, 'bad_request', qr/"channel" is missing/ ],
        [ { %p, channel => 1 }, 'bad_request', qr/"channel"/ ],
        [ { %p, channel => 'a*' }, 'bad_request', qr/name/ ],
        [ { %p, channel => "a\0" }, 'bad_request', qr/name/ ],
        [ { %p, channel => '' }, 'bad_request', qr/name/ ],
        [ { op => 'publish', channel => 'err' }, 'bad_request', qr/"data" is missing/ ],
        [ { %p, enc => 'hex' }, 'bad_request', qr/"enc"/ ],
        [ { %p, enc => 'base64' }, 'bad_request', qr/"data"/ ],
        [ { %p, enc => 'base64', data => '!' }, 'bad_request', qr/"data" is not base64/ ],
        [ { %p, event => 1 }, 'bad_request', qr/"event"/ ],
        [ { %p, event => 'x' x 129 }, 'bad_request', qr/"event".*128/ ],
        [ { %p, key => 'x' x 129 }, 'bad_request', qr/"key".*128/ ],
        [ { %p, user => "\n" }, 'bad_request', qr/"user"/ ],
        [ { %p, store => 1 }, 'bad_request', qr/"store"/ ],
        [ { %p, meta => 'x' x 1024 }, 'too_large', qr/"meta" of 1024/ ],
        [ { %p, if => 1 }, 'bad_request', qr/"if"/ ],
        [ { %p, if => { epoch => 7, offset => 1 } }, 'bad_request', qr/"epoch"/ ],
        [ { %p, if => { epoch => 'x', offset => 1 } }, 'conflict', qr// ],
        [ { op => 'history', channel => 'none-here', since => { epoch => 'x', offset => 1 } },
          'not_found', qr// ],
        [ { %p, if => { epoch => '0' x 16, offset => -1 } }, 'bad_request', qr/"offset"/ ],
        [ { op => 'history', channel => 'err', limit => 'x' }, 'bad_request', qr/"limit"/ ],
        [ { op => 'history', channel => 'nobody' }, 'not_found', qr/"nobody"/ ],
        [ { op => 'info', channel => 'nobody' }, 'not_found', qr/"nobody"/ ],
        [ { op => 'purge', channel => 'nobody' }, 'not_found', qr/"nobody"/ ],
        [ { op => 'purge', channel => 'err', reason => 1 }, 'bad_request', qr/"reason"/ ],
    );

    my $r = batch(\%p, (map { $_->[0] } @bad), \%p);

    is($r->{status}, 200, 'the batch is good');
    is(scalar @{ $r->json }, @bad + 2, 'as many results');
    is($r->json->[0]{ok}{offset}, 1, 'the first is done');
    is($r->json->[-1]{ok}{offset}, 2, 'the last is done');

    failed($r->json->[$_ + 1], @{ $bad[$_] }[1, 2], json($bad[$_][0])) for 0 .. $#bad;

    is($http->post('/fanout/batch', '[{"op":"publish","channel":"\ud800","data":1}]')
            ->json->[0]{error}{code}, 'bad_request', 'half a surrogate pair');
    is($http->post('/fanout/batch', '[{"op":"info","op":"info","channel":"a"}]')
            ->json->[0]{error}{code}, 'bad_request', 'a member twice');
};


subtest 'the batch itself' => sub {
    refused($http->post('/fanout/batch', $_->[0]), 400, 'bad_request', $_->[1], $_->[2])
        for [ '', qr/empty/, 'no body' ], [ '{}', qr/array/, 'no array' ],
            [ '[{"op":]', qr/JSON/, 'broken' ], [ "[\"\xff\"]", qr/UTF-8/, 'no UTF-8' ];

    my @ops = map { { op => 'publish', channel => 'few', data => $_ } } 1 .. 4;

    my $r = $http->post('/few/batch', json([ @ops ]));
    refused($r, 400, 'too_many', qr/"batch" of 3/, 'too many');
    is_deeply($r->json->{error}{data}, { limit => 'batch', max => 3 }, 'the limit');
    is($http->get('/fanout/channels/few')->{status}, 404, 'nothing was done');

    is(scalar @{ $http->post('/few/batch', json([ @ops[0 .. 2] ]))->json }, 3, 'the most');

    $r = $http->post('/few/batch', json([ { %{ $ops[0] }, data => 'x' x 98 },
                                          { %{ $ops[0] }, data => 'x' x 99 } ]))->json;
    is($r->[0]{ok}{offset}, 4, 'the largest message');
    failed($r->[1], 'too_large', qr/"message" of 100/, 'one byte more');

    $r = $http->post('/few/batch', json([ $ops[0] ]) . ' ' x 5000);
    is($r->json->[0]{ok}{offset}, 5, 'a body in a file');
};


subtest 'broadcast' => sub {
    my $r = $http->post('/fanout/broadcast', json({
        channels => [ 'c:1', 'c:2', "c:\x{e9}", 'c:1' ],
        data     => { all => 1 }, event => 'e', user => 'ann', meta => [ 1 ],
    }));

    is($r->{status}, 200);
    is_deeply([ map { [ $_->{channel}, $_->{ok}{offset} ] } @{ $r->json->{results} } ],
              [ [ 'c:1', 1 ], [ 'c:2', 1 ], [ "c:\x{e9}", 1 ], [ 'c:1', 2 ] ],
              'results in order');

    for my $c ('c:1', 'c:2', 'c:%C3%A9') {
        my $m = history($c)->{messages}[0];
        delete $m->{time};

        is_deeply($m, { offset => 1, data => { all => 1 }, event => 'e', meta => [ 1 ],
                        from => { user => 'ann' } }, "$c has it");
    }

    my $k = json({ channels => [ 'c:3', 'c:4' ], data => 1, key => 'k' });
    $http->post('/fanout/broadcast', $k);
    is_deeply([ map { $_->{ok}{duplicate} }
                @{ $http->post('/fanout/broadcast', $k)->json->{results} } ],
              [ $true, $true ], 'a key holds for every channel');

    $r = $http->post('/fanout/broadcast', json({ channels => [ 'c:5', '*', 7, 'c:6' ],
                                                 data => 1 }))->json->{results};
    is($r->[0]{ok}{offset}, 1, 'the good ones get it');
    failed($r->[1], 'bad_request', qr/name/, 'a star');
    is($r->[1]{channel}, '*', 'which one it was');
    failed($r->[2], 'bad_request', qr/"channels"/, 'a number');
    is($r->[3]{ok}{offset}, 1, 'those behind as well');

    $r = $http->post('/fanout/broadcast', json({ channels => [ map { "all:$_" } 1 .. 1000 ],
                                                 data => 1 }))->json->{results};
    is(scalar(grep { $_->{ok}{offset} == 1 } @$r), 1000, 'a thousand channels');

    refused($http->post('/fanout/broadcast', json($_->[0])), 400, $_->[1], $_->[2], $_->[3])
        for [ [], 'bad_request', qr/object/, 'an array' ],
            [ { data => 1 }, 'bad_request', qr/"channels" is missing/, 'no channels' ],
            [ { channels => 'a', data => 1 }, 'bad_request', qr/"channels" is not an array/,
              'one channel' ],
            [ { channels => [ 'a' ] }, 'bad_request', qr/"data" is missing/, 'no data' ],
            [ { channels => [ 'a' ], data => 1, if => {} }, 'bad_request', qr/"if"/, 'if' ],
            [ { channels => [ ('a') x 1001 ], data => 1 }, 'too_many',
              qr/"channels" of 1000/, 'too many' ];
};
