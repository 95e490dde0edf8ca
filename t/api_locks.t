#!/usr/bin/env perl

# Locks by the HTTP API: if this fails, a backend takes a lock that a client
# holds, does not see who holds it, cannot break it, or changes a record behind
# the back of the holder although it has asked.

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
        fanout_zone tiny 2m records=1%;
        fanout_channel app off:*;
        fanout_channel app few:* locks=1s locks_max=3;
        fanout_channel app page:* locks=10m locks_max=5000;
        fanout_channel app * history=100 records=on locks=1m guard=on;
        fanout_channel tiny * locks=1m locks_max=100000;
END
    server => <<'END',
        location /fanout/  { fanout_api app; fanout_batch 64; }
        location /tiny/    { fanout_api tiny; }
        location /realtime { fanout app; fanout_permit all *; fanout_user ann; }
END
);

my $http = $nginx->http;

sub ask {
    my ($method, $url, $body, %h) = @_;

    return $http->request($method, $url, headers => \%h,
                          defined $body
                          ? (body => ref $body ? Fanout::JSON::encode($body)
                                               : $body) : ());
}

sub at     { "/fanout/channels/$_[0]/locks" . (defined $_[1] ? "/$_[1]" : '') }
sub take   { my ($c, $n, $body, $q) = @_; ask(POST => at($c, $n) . ($q // ''), $body) }
sub drop   { my ($c, $n, $q) = @_; ask(DELETE => at($c, $n) . ($q // '')) }
sub list   { ask(GET => at($_[0]))->json }
sub code   { $_[0]->json->{error}{code} }


subtest 'a life' => sub {
    is_deeply(list('t')->{locks}, [], 'none');

    my $r = take('t', 'a', { ttl => 20_000, data => { by => 'cron' } }, '?user=job');
    my $token = $r->json->{token};
    is($r->{status}, 201, 'taken');
    ok($token > 2 ** 50 && !$r->json->{renewed}, 'with a token');

    my ($lock) = @{ list('t')->{locks} };
    is_deeply([ @$lock{qw(name token waiting holder)} ],
              [ 'a', $token, 0, { user => 'job', data => { by => 'cron' } } ],
              'it is in the list');
    cmp_ok(abs($lock->{expires} - $r->json->{expires}), '<=', 1, 'with its end');

    $r = take('t', 'a', {});
    is($r->{status} . ' ' . code($r), '409 locked', 'not again');
    is_deeply($r->json->{error}{data}{holder}, $lock->{holder}, 'by whom');

    $r = take('t', 'a', { ttl => 30_000 }, "?token=$token");
    is($r->{status}, 200, 'renewed with its token');
    ok($r->json->{renewed} && $r->json->{token} == $token
       && $r->json->{expires} > $lock->{expires}, 'the same, later');
    is_deeply(list('t')->{locks}[0]{holder}{data}, { by => 'cron' },
              'with the same data');
    take('t', 'a', { data => undef }, "?token=$token");
    ok(!exists list('t')->{locks}[0]{holder}{data}, 'until null takes it');
    is(code(take('t', 'a', {}, '?token=' . ($token + 1))), 'locked',
       'not with another token');

    $r = drop('t', 'a', '?token=' . ($token - 1));
    is($r->{status} . ' ' . code($r), '409 not_holder', 'nor is it given up');
    is(drop('t', 'a', "?token=$token")->{status}, 200, 'given up');
    $r = drop('t', 'a');
    is($r->{status} . ' ' . code($r), '404 not_found', 'once');

    $r = take('t', 'a');
    is($r->{status}, 201, 'taken without a body');
    cmp_ok($r->json->{token}, '>', $token, 'tokens grow');
    is(drop('t', 'a')->{status}, 200, 'given up without a token');
};


subtest 'clients' => sub {
    my $c = $nginx->native;
    my $d = $nginx->native;

    $_->ok('join', channel => 'c', want => ['locks']) for $c, $d;

    my $token = $c->ok('lock', channel => 'c', name => 'x')->{token};
    my $r = take('c', 'x', {});
    is(code($r), 'locked', 'a client holds it');
    is($r->json->{error}{data}{holder}{user}, 'ann', 'who');
    is(list('c')->{locks}[0]{token}, $token, 'the list has the token');

    is(drop('c', 'x', '?token=1')->{status}, 409, 'not broken by another token');
    is(drop('c', 'x')->{status}, 200, 'broken');
    is($d->next_where(sub { ($_[0]{lock} || {})->{reason} })->{lock}{reason},
       'broken', 'subscribers are told');
    is($c->cmd('unlock', channel => 'c', name => 'x', token => $token)
         ->{error}{code}, 'not_holder', 'the holder learns of it');

    take('c', 'y', {}, '?user=job');
    my $told = $d->next_where(sub { my $lock = $_[0]{lock} || {};
                                    ($lock->{name} // '') eq 'y' });
    is_deeply($told->{lock}{holder}, { user => 'job' }, 'of those of the API');
    is($c->cmd('lock', channel => 'c', name => 'y')->{error}{code}, 'locked',
       'which keep clients out');
    $_->disconnect for $c, $d;
};


subtest 'records' => sub {
    my $c = $nginx->native;
    my $url = '/fanout/channels/g/records/r';

    $c->ok('join', channel => 'g');
    $c->ok('lock', channel => 'g', name => 'r.a');

    is(ask(PATCH => $url, { set => { a => 1 } })->{status}, 201,
       'the API is above locks');

    my $token = take('g', 'r.b', {})->json->{token};
    my $r = ask(PATCH => $url, { set => { b => 1 } }, 'Fanout-Token' => $token);
    is($r->{status}, 200, 'with its token');
    $r = ask(PATCH => $url, { set => { b => 1 } }, 'Fanout-Token' => $token - 1);
    is($r->{status} . ' ' . code($r), '409 not_holder', 'with another');
    is(code(ask(DELETE => $url, undef, 'Fanout-Token' => $token - 1)),
       'not_holder', 'a delete too');
    $r = ask(PATCH => $url, { set => { a => 2 } }, 'Fanout-Token' => $token);
    is($r->{status}, 409, 'what another one holds');
    is(ask(PATCH => $url, { set => {} }, 'Fanout-Token' => $_)->{status}, 400,
       "no token: $_") for '0', 'x', '-1';

    $r = ask(POST => '/fanout/batch',
        [ { op => 'set', channel => 'g', record => 'r', set => { b => 3 },
            token => $token, release => 'r.b' },
          { op => 'set', channel => 'g', record => 'r', set => { b => 4 },
            token => $token, release => 'r.b' } ])->json;
    ok($r->[0]{ok}{version}, 'a set that releases');
    is($r->[1]{error}{code}, 'not_holder', 'once');
    $c->disconnect;
};


subtest 'batch' => sub {
    my $r = ask(POST => '/fanout/batch',
        [ { op => 'lock', channel => 'b', name => 'x', ttl => 1000, data => [1],
            user => 'job' },
          { op => 'lock', channel => 'b', name => 'x' },
          { op => 'unlock', channel => 'b', name => 'x', token => 1 },
          { op => 'unlock', channel => 'b', name => 'x' },
          { op => 'unlock', channel => 'b', name => 'x' },
          { op => 'lock', channel => 'b' } ])->json;

    ok($r->[0]{ok}{token} && $r->[0]{ok}{expires}, 'lock');
    is(join(' ', map { $_->{error}{code} // 'ok' } @$r[1 .. 5]),
       'locked not_holder ok not_found bad_request', 'each for itself');
};


subtest 'bad input' => sub {
    my @bad = (
        [ 400, { ttl => 0 } ], [ 400, { ttl => 60_001 } ],
        [ 400, { ttl => -1 } ], [ 400, { ttl => 'x' } ], [ 400, { ttl => 1e18 } ],
        [ 400, { wait => 5 } ], [ 400, '[1]' ], [ 400, '{' ],
        [ 413, { data => 'x' x 1100 } ],
    );

    for (@bad) {
        my ($status, $body) = @$_;
        is(take('t', 'bad', $body)->{status}, $status,
           substr(ref $body ? Fanout::JSON::encode($body) : $body, 0, 30));
    }

    is(take('t', $_)->{status}, 400, "no name: $_")
        for '%00', 'a%0Ab', 'x' x 256, '%FF';
    is(take('t', 'x' x 255)->{status}, 201, 'a name of 255 bytes');
    is(take('t', 'u', {}, '?user=' . 'x' x 256)->{status}, 400, 'no user');
    is(take('t', 'u', {}, "?token=$_")->{status}, 400, "no token: \"$_\"")
        for 'x', '0', '';
    is(ask(DELETE => at('t', 'x' x 255) . "?token=$_")->{status}, 400,
       "nor \"$_\" to break one") for '0', '';
    is(ask(POST => '/fanout/batch', [ { op => 'unlock', channel => 't',
        name => 'x' x 255, token => 0 } ])->json->[0]{error}{code},
       'bad_request', 'in a batch, too');
    is(take('t', 'u', {}, '?ttl=5')->{status}, 400, 'no such argument');
    is(ask(PUT => at('t', 'x'))->{status}, 405, 'no such method');
    is(ask(POST => at('t'))->{status}, 405, 'no name at all');
    is(code(take('off:1', 'x', {})), 'forbidden', 'no locks there');
    is(ask(GET => at('off:1'))->{status}, 403, 'none to list');
    is(scalar @{ list('t')->{locks} }, 1, 'nothing else was taken');
};


subtest 'limits' => sub {
    is(take('few:1', $_, {})->{status}, 201, "few: $_") for 1 .. 3;

    my $r = take('few:1', 4, {});
    is($r->{status} . ' ' . code($r), '400 too_many', 'no more than locks_max=');
    is_deeply($r->json->{error}{data}, { limit => 'locks', max => 3 }, 'which');

    for (1 .. 50) {
        last if !@{ list('few:1')->{locks} };
        ask(POST => '/fanout/cleanup');
        select undef, undef, undef, 0.1;
    }

    is_deeply(list('few:1')->{locks}, [], 'they end by their time');
    is(take('few:1', 5, {})->{status}, 201, 'then there is room');

    my ($n, $full) = (0, 0);

    while ($n < 5000 && !$full) {
        my $r = ask(POST => '/tiny/batch',
                    [ map { { op => 'lock', channel => 't', name => 'l' . $n++ } }
                      1 .. 64 ])->json;
        $full = grep { (($_->{error} || {})->{code} // '') eq 'zone_full' } @$r;
    }

    ok($full, "the zone is full after $n");

    my ($seen, $cursor, %names) = (0, '');

    for (1 .. 99) {
        my $page = ask(GET => "/tiny/channels/t/locks?limit=50$cursor")->json;
        $names{ $_->{name} }++ for @{ $page->{locks} };
        $seen = @{ $page->{locks} } > $seen ? @{ $page->{locks} } : $seen;
        last if !$page->{cursor};
        $cursor = "&cursor=$page->{cursor}";
    }

    is($seen, 50, 'pages have the limit');
    is((grep { $_ != 1 } values %names) + 0, 0, 'each lock is on one page');
    cmp_ok(scalar keys %names, '>', 60, 'all are there: ' . keys %names);
    is(ask(DELETE => '/tiny/channels/t/locks/l0')->{status}, 200,
       'a full zone gives up locks');
};


# 2,001 locks, two pages of the most and a last one with a single lock

subtest 'pages' => sub {
    my $page = sub { ask(GET => at('page:1') . "?$_[0]") };

    for my $from (map { 64 * $_ } 0 .. 31) {
        my $r = ask(POST => '/fanout/batch',
                    [ map { { op => 'lock', channel => 'page:1', name => "l$_" } }
                      $from .. ($from + 63 > 2000 ? 2000 : $from + 63) ])->json;
        last if grep { $_->{error} } @$r;
    }

    my ($cursor, @sizes, %names) = ('');

    for (1 .. 9) {
        my $got = $page->("limit=5000$cursor")->json;
        push @sizes, scalar @{ $got->{locks} };
        $names{ $_->{name} }++ for @{ $got->{locks} };
        last if !$got->{cursor};
        $cursor = "&cursor=$got->{cursor}";
    }

    is_deeply(\@sizes, [ 1000, 1000, 1 ], 'a page has at most 1,000');
    is(scalar(keys %names), 2001, 'all are there');
    is((grep { $_ != 1 } values %names) + 0, 0, 'each is on one page');

    is(scalar @{ $page->('')->json->{locks} }, 100, 'by default 100');

    drop('page:1', "l$_") for 3 .. 2000;

    my $all = $page->('limit=3')->json;
    is(@{ $all->{locks} } . ' ' . defined $all->{cursor}, '3 ',
       'as many as there are: no cursor');

    my $some = $page->('limit=2')->json;
    is(@{ $some->{locks} } . ' ' . !!$some->{cursor}, '2 1', 'one less: a cursor');

    $some = $page->('limit=0')->json;
    is(@{ $some->{locks} } . ' ' . !!$some->{cursor}, '1 1', 'a page has at least one');

    for my $beyond (2001, 2 ** 32 - 1, 2 ** 32, '9007199254740991') {
        my $r = $page->("cursor=$beyond")->json;
        is(@{ $r->{locks} } . ' ' . defined $r->{cursor}, '0 ',
           "a cursor of $beyond: none are left");
    }

    for my $bad ('cursor=x', 'cursor=-1', 'cursor=18446744073709551616', 'limit=x', 'limit=-1', 'limit=1.5') {
        is($page->($bad)->{status}, 400, $bad);
    }
};


done_testing();
