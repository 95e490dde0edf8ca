#!/usr/bin/env perl

# Commands by POST: if this fails, a page that gets its events by a stream or
# by polls can't say anything, says it as somebody else, or another site's page
# says it in its name.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Stream;


my $nginx = Fanout::Nginx->start(
    http => 'fanout_zone app 32m;
             fanout_channel app * history=10000 ttl=1h;
             client_body_buffer_size 2k;',
    server => <<'END',
        location /rt   { fanout app; fanout_permit all *;
                         fanout_user $arg_user; }
        location /user { fanout app; fanout_permit publish open:*; }
        location /other { fanout app; fanout_permit all *;
                          fanout_origin same https://app.example; }
        location /small { fanout app; fanout_permit all *;
                          fanout_message_size 100; fanout_buffer 8k;
                          fanout_batch 3; }
        location /no   { fanout app; fanout_permit all *;
                         fanout_transports websocket sse poll; }
        location /raw  { fanout app; fanout_permit all *;
                         fanout_dialect raw; }
        location /fanout { fanout_api app; }
        location = /status { fanout_status app; }
END
);

my $http = $nginx->http;


sub post {
    my ($body, %o) = @_;

    $body = Fanout::JSON::encode($body) if ref $body;

    return $http->post($o{path} || '/rt', $body, headers => {
        'Content-Type' => 'application/json', %{ $o{headers} || {} }
    });
}


subtest 'a command' => sub {
    my $s = Fanout::Stream->new($nginx, '/rt', channels => [ 'a' ]);

    my $r = post({ id => 7, op => 'publish', channel => 'a', event => 'e',
                   data => { x => 1 }, key => 'k' });

    is($r->{status}, 200, 'is answered');
    is($r->json->{id}, 7, 'by its id');
    is($r->json->{ok}{offset}, 1, 'with its reply');
    is($r->{headers}{'cache-control'}, 'no-store', 'that nobody keeps');

    my $entry = $s->next_push;
    is_deeply($entry->{data}, { x => 1 }, 'and done');
    ok(!$entry->{from}, 'by nobody');

    $r = post({ id => 8, op => 'publish', channel => 'a', data => 2,
                key => 'k' });
    ok($r->json->{ok}{duplicate}, 'a key is one');

    $r = post({ op => 'publish', channel => 'a', data => 3 });
    is($r->{status}, 204, 'without an id there is no reply');
    is($s->next_push->{data}, 3, 'but it is done');

    $r = post({ id => 1, op => 'history', channel => 'a', limit => 10 });
    is(@{ $r->json->{ok}{messages} }, 2, 'history');

    ok(post({ id => 1, op => 'ping' })->json->{ok}{time}, 'ping');
    is(post({ id => 1, op => 'ping' }, headers => {
            'Content-Type' => 'Application/JSON; charset=utf-8' })->{status},
       200, 'a type with a charset');
};


subtest 'many' => sub {
    my $r = post([ { id => 1, op => 'publish', channel => 'm', data => 1 },
                   { id => 2, op => 'publish', channel => '*', data => 2 },
                   { op => 'publish', channel => 'm', data => 3 },
                   { id => 4, op => 'history', channel => 'm' } ]);

    is($r->{status}, 200, 'an array is answered');
    my $got = $r->json;
    is_deeply([ map { $_->{id} } @$got ], [ 1, 2, 4 ], 'by one, in order');
    is($got->[1]{error}{code}, 'bad_request', 'with its errors');
    is(@{ $got->[2]{ok}{messages} }, 2, 'each sees what was before');

    post([ map { { op => 'publish', channel => 'l', data => 'x' x 900 } }
               1 .. 60 ]) for 1 .. 3;

    $r = post({ id => 1, op => 'history', channel => 'l', limit => 150 });
    $got = $r->json;
    is(ref $got, 'ARRAY', 'a reply in parts is an array of them');
    my $n = 0;
    $n += @{ ($_->{part} || $_->{ok})->{messages} } for @$got;
    is($n, 150, 'whole');
    ok($got->[-1]{ok}, 'and ends with the reply');

    $r = post([ { id => 1, op => 'history', channel => 'l', limit => 100 },
                { id => 2, op => 'ping' } ]);
    $got = $r->json;
    ok(!(grep { ref ne 'HASH' } @$got), 'also in an array');
    is($got->[-1]{id}, 2, 'with what is behind it');

    $r = post({ id => 1, op => 'history', channel => 'l', limit => 100 },
              path => '/small');
    is($r->{status}, 413, 'too much for the buffer');
    like($r->json->{error}{message}, qr/fanout_buffer/, 'is told');
};


subtest 'who says it' => sub {
    my $s = Fanout::Stream->new($nginx, '/rt', channels => [ 'who' ],
                                query => 'user=ann');
    my ($client, $token) = @{ $s->welcome }{qw( client resume )};
    my $own = { 'Fanout-Client' => $client, 'Fanout-Resume' => $token };
    my $say = { id => 1, op => 'publish', channel => 'who', data => 1 };

    my $r = post($say, path => '/rt?user=ann', headers => $own);
    is($r->{status}, 200, 'as the client of a stream');

    my $entry = $s->next_push;
    is($entry->{from}{client}, $client, 'it is that client');
    is($entry->{from}{user}, 'ann', 'and that user');

    post({ %$say, echo => Fanout::JSON::false, data => 2 },
         path => '/rt?user=ann', headers => $own);
    post({ %$say, data => 3 }, path => '/rt?user=ann');

    $entry = $s->next_push;
    is($entry->{data}, 3, 'which need not hear itself');
    ok(!$entry->{from}{client}, 'without the token nobody is');

    is(post($say, path => '/rt?user=bob', headers => $own)->{status}, 403,
       'nobody of another name');
    is(post($say, path => '/rt?user=ann', headers => {
            'Fanout-Client' => $client })->{status}, 403, 'nor without proof');
    is(post($say, path => '/rt?user=ann', headers => {
            %$own, 'Fanout-Client' => 'c_0123456789abcdef' })->{status}, 403,
       'nor as another client');

    (my $wrong = $token) =~ s/(.)$/$1 eq '0' ? '1' : '0'/e;
    is(post($say, path => '/rt?user=ann', headers => {
            'Fanout-Resume' => $wrong })->{status}, 403, 'nor by a guess');
    is(post($say, path => '/rt?user=ann', headers => {
            'Fanout-Resume' => 'r_x' })->{status}, 403, 'nor by a wrong form');
    like($http->post('/rt', '{}', headers => [ [ 'Content-Type' => 'application/json' ],
            map { [ 'Fanout-Resume' => $_ ] } $token, $token ])->{body},
         qr/Fanout-Resume is there twice/, 'nor by two tokens');

    ok(!$s->next_push(0.2), 'nothing of it was said');

    $s->cut;
    is(post($say, path => '/rt?user=ann', headers => $own)->{status}, 200,
       'it may while its stream is away');
    $s->{o}{headers} = { 'Fanout-Resume' => $token };
    $s->come_back;
    is($s->welcome->{client}, $client, 'which can still come back by it');
};


subtest 'to a stream alone' => sub {
    my $s = Fanout::Stream->new($nginx, '/rt', channels => [ 'direct' ]);
    my $other = Fanout::Stream->new($nginx, '/rt', channels => [ 'direct' ]);

    my $r = post({ id => 1, op => 'publish', channel => 'direct', data => 1,
                   to => { client => $s->welcome->{client} } });

    is($r->{status}, 200, 'a direct message');
    is($s->next_push->{data}, 1, 'reaches it');

    post({ id => 1, op => 'signal', channel => 'direct', event => 'e',
           data => 2 });
    is($other->next_push->{signal}, 'e', 'nobody else: what comes next');
    is($s->next_push->{signal}, 'e', 'is a signal to all');
};


subtest 'refused' => sub {
    my $r = post({ id => 1, op => 'join', channel => 'a' });
    is($r->{status}, 400, 'a join');
    like($r->json->{error}{message}, qr/can't join/, 'has no stream');

    $r = post({ id => 1, op => 'leave', channel => 'a' });
    is($r->{status}, 400, 'a leave');

    $r = post({ id => 1, op => 'publish', channel => 'b', data => 1 },
              path => '/user');
    is($r->{status}, 403, 'what is not permitted');
    like($r->json->{error}{message}, qr/fanout_permit publish/, 'says why');

    is(post({ id => 1, op => 'what' })->{status}, 400, 'an unknown op');
    is(post('{')->{status}, 400, 'no JSON');
    is(post('17')->{status}, 400, 'no command');
    $r = post('[]');
    is($r->{status}, 400, 'none at all');
    like($r->json->{error}{message}, qr/at least one command/, 'says why');
    is(post('')->{status}, 400, 'nothing');

    for my $type ('text/plain', 'application/x-www-form-urlencoded',
                  'application/jsonp', '')
    {
        is(post('{}', headers => { 'Content-Type' => $type })->{status}, 415,
           "type \"$type\"");
    }

    is(post({ id => 1, op => 'publish', channel => 'a', data => 'x' x 101 },
            path => '/small')->{status}, 413, 'a large message');

    $r = post('{"x":"' . 'x' x 70_000 . '"}');
    is($r->{status}, 413, 'a large body');
    like($r->json->{error}{message}, qr/fanout_message_size/, 'says why');

    my $body = '{"x":"' . 'x' x 70_000 . '"}';
    $r = $nginx->http->raw(join "\r\n", 'POST /rt HTTP/1.1', 'Host: x',
        'Content-Type: application/json', 'Transfer-Encoding: chunked', '',
        sprintf('%x', length $body), $body, '0', '', '');
    is($r->{status}, 413, 'also in chunks');

    $r = post([ map { { op => 'ping' } } 1 .. 4 ], path => '/small');
    is($r->json->{error}{code}, 'too_many', 'too many');

    is(post('{}', path => '/no')->{status}, 403, 'not served');
    is(post('{}', path => '/raw')->{status}, 405, 'nor by the raw dialect');
};


subtest 'another origin' => sub {
    my $say = { id => 1, op => 'ping' };

    is(post($say, headers => { Origin => 'https://evil.example' })->{status},
       403, 'is refused');
    is(post($say, path => '/other', headers => {
            Origin => 'https://evil.example' })->{status}, 403,
       'also where others are not');

    my $r = post($say, path => '/other', headers => {
        Origin => 'https://app.example' });
    is($r->{headers}{'access-control-allow-origin'}, 'https://app.example',
       'one that is let in may read the answer');

    $r = $http->request(OPTIONS => '/other', headers => {
        Origin => 'https://app.example',
        'Access-Control-Request-Method' => 'POST' });
    is($r->{status}, 204, 'and ask before');
    like($r->{headers}{'access-control-allow-headers'}, qr/Fanout-Resume/,
         'what it may send');

    $r = $http->request(OPTIONS => '/other', headers => {
        Origin => 'https://evil.example',
        'Access-Control-Request-Method' => 'POST' });
    is($r->{status}, 403, 'others are told no');
};


ok(wait_for(sub {
    my $status = $http->get('/status')->json;
    return !grep { $_->{sessions} } @{ $status->{workers} };
}), 'no session is left of a POST');
