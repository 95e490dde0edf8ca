#!/usr/bin/env perl

# What one user may hold of the idempotence keys: if this fails, a client that
# publishes with a new key each time keeps all others from publishing with any,
# for as long as keys are remembered.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::HookBackend;
use Fanout::Nginx;


my $backend = Fanout::HookBackend->start;

my $nginx = Fanout::Nginx->start(
    http => <<"END",
        upstream hooks { server 127.0.0.1:@{[ $backend->port ]}; }
        fanout_rate off;
        fanout_budget off;
        fanout_zone app 3m dedupe=1h keys=1%-3%;
        fanout_zone all 3m dedupe=1h keys=1%-3% user=100% address=100%;
        fanout_zone asks 3m dedupe=1h keys=1%-3%;
        fanout_channel app room:* history=10;
        fanout_channel asks room:* history=10 hooks=off;
        fanout_zone old 3m dedupe=1h keys=1%-3%;
        fanout_channel old * history=100000;
END
    server => <<'END',
        location /rt  { fanout app; fanout_user $arg_user; fanout_permit all *; }
        location /all { fanout all; fanout_user $arg_user; fanout_permit all *; }
        location /asks { fanout asks; fanout_user $arg_user; fanout_permit all *; }
        location /hook { internal; proxy_pass http://hooks; }
        fanout_hook asks /hook publish;
        location /old { fanout old; fanout_user $arg_user; fanout_permit all *; }
        location /old-api { fanout_api old; }
        location /fanout { fanout_api app; }
        location /api { fanout_api asks; }
        location = /status { fanout_status app; }
END
);

my $http = $nginx->http;
my $next = 0;

sub code    { $_[0]{error} ? $_[0]{error}{code} : 'ok' }
sub status  { $http->get('/status')->json }
sub publish { shift->cmd('publish', channel => 'room:a', data => 0, store => \0, @_) }

# keys until one is refused: how many they were, and the refusal

sub fill {
    my ($ws, @at) = @_;

    for my $n (0 .. 5000) {
        my $r = publish($ws, @at, key => 'k' . $next++);

        return ($n, $r) if $r->{error};
    }

    return (5001, {});
}

my $max = status()->{zone}{shares}{keys}{max};

# Whether another has room: of users and addresses by hash, some in a thousand
# count for one that holds all it may, so that one of three may be refused.

sub has_room {
    my ($name) = @_;

    my @code = map {
        code(publish($nginx->native(path => "/rt?user=$name$_", local => "127.0.$_.9"),
                     key => "$name$_"))
    } 1 .. 3;

    return 2 <= grep { $_ eq 'ok' } @code;
}


subtest 'a user' => sub {
    my $mallory = $nginx->native(path => '/rt?user=mallory', local => '127.0.0.2');
    my $ann     = $nginx->native(path => '/rt?user=ann', local => '127.0.0.2');

    my ($n, $r) = fill($mallory);

    is($n, int($max / 5), 'has a quarter of what a fanout_channel may have');
    is(code($r), 'rate_limited', 'and is refused beyond it');
    is($r->{error}{data}{limit}, 'keys', 'for its keys');
    is($r->{error}{data}{of}, 'user', 'which are a user\'s');
    cmp_ok($r->{error}{data}{retry_after}, '>', 3_000_000, 'until the first expires');
    cmp_ok($r->{error}{data}{retry_after}, '<=', 3_601_000, 'and no longer');
    like($r->{error}{message}, qr/fanout_zone user=/, 'as it says');

    is(code(publish($mallory)), 'ok', 'it publishes without a key');
    is(publish($mallory, key => 'k0')->{ok}{duplicate}, 1, 'a known key is known');
    is(code(publish($nginx->native(path => '/rt?user=mallory', local => '127.0.0.3'),
                    key => 'elsewhere')),
       'rate_limited', 'from another address it has no more');
    is(code(publish($ann, key => 'ann')), 'ok', 'another behind its address has');

    my $post = $nginx->http(local => '127.0.0.2')->post('/rt?user=mallory',
        '{"op":"publish","channel":"room:a","data":0,"key":"posted"}',
        headers => { 'Content-Type' => 'application/json' });

    is($post->{status}, 429, 'by POST it is 429');
    like($post->{headers}{'retry-after'}, qr/^3\d\d\d$/, 'with Retry-After');

    my $st = status();

    ok($st->{counters}{limited_keys} >= 3, 'limited_keys counts');
    is($st->{zone}{shares}{keys}{refused}, 0, 'the share has refused nothing');
    is($st->{zone}{user_limit}, 25, 'the status has the limit of a user');
    is($st->{zone}{address_limit}, 50, 'and that of an address');
};


subtest 'an address' => sub {
    my (@of, $r);

    # without a user, and many users

    for my $user ('', map { "m$_" } 1 .. 4) {
        (undef, $r) = fill($nginx->native(path => "/rt?user=$user", local => '127.0.0.2'));
        push @of, $r->{error}{data}{of} // code($r);
        last if $user && $of[-1] eq 'address';
    }

    is($of[0], 'address', 'those without a user have what their address may have');
    is($of[-1], 'address', 'many users have no more than an address may');
    like($r->{error}{message}, qr/fanout_zone address=/, 'as it says');

    my $used = status()->{zone}{shares}{keys}{used};

    cmp_ok($used, '<=', $max * 2 / 5 + 1, 'which is half of what a fanout_channel may have');

    ok(has_room('bob'), 'one of another address publishes with a key');
    is($http->post('/fanout/channels/room:a/messages', 1,
                   headers => { 'Fanout-Key' => "api$_" })->{status}, 201, 'so does the backend')
        for 1 .. 3;
};


subtest 'many addresses' => sub {
    for my $address (3 .. 6) {
        my $r;

        # a user that counts as one of before may have had all it may

        for my $user (1 .. 12) {
            (undef, $r) = fill($nginx->native(path => "/rt?user=n$address.$user",
                                              local => "127.0.0.$address"));
            last if $r->{error}{data}{of} eq 'address';
        }

        is($r->{error}{data}{of}, 'address', 'an address has all that it may');
    }

    ok(has_room('carol'), 'another has room on a channel of the same fanout_channel');
    is(status()->{zone}{shares}{keys}{refused}, 0, 'the share has refused nothing');
};


subtest 'user=100% address=100%' => sub {
    my ($n, $r) = fill($nginx->native(path => '/all?user=mallory'));

    is(code($r), 'zone_full', 'one may have all there is');
    like($r->{error}{message}, qr/^the share of the zone for keys is full: fanout_zone keys=$/,
         'and is told of what there is no more');
};


subtest 'a publish that is refused evicts no history' => sub {
    my $ann     = $nginx->native(path => '/old?user=ann', local => '127.0.0.2');
    my $mallory = $nginx->native(path => '/old?user=mallory');
    my $old     = sub { $http->get('/old-api/channels/old')->json->{first} };

    is(code((fill($mallory))[1]), 'rate_limited', 'one has all keys that it may have');

    for (1 .. 200) {
        $ann->ok('publish', channel => 'old',
                 messages => [ map { { data => 'x' x 900 } } 1 .. 20 ]);
        last if $old->() > 1;
    }

    my $oldest = $old->();

    cmp_ok($oldest, '>', 1, 'the zone is full of messages');

    is(code(publish($mallory, channel => 'old', data => 'x' x 60000, key => "large$_")),
       'rate_limited', 'a large one is refused') for 1 .. 3;

    is($old->(), $oldest, 'no message had to go for it');
};


subtest 'a backend that is asked for publishes' => sub {
    my @at   = (channel => 'asked');
    my $ann  = $nginx->native(path => '/asks?user=ann');
    my $none = $nginx->native(path => '/asks', local => '127.0.0.2');

    is(code(publish($ann, @at, key => 'known')), 'ok', 'a key');
    fill($ann);
    fill($ann, @at);
    $backend->forget;

    my $r = publish($ann, @at, key => 'new');

    is(code($r), 'rate_limited', 'one who holds all keys that it may is refused');
    is($r->{error}{data}{limit}, 'keys', 'for its keys');
    is($r->{error}{data}{of}, 'user', 'which are a user\'s');
    is($backend->asked, 0, 'and the backend is not asked');

    my $post = $nginx->http->post('/asks?user=ann',
        '{"op":"publish","channel":"asked","data":0,"key":"posted"}',
        headers => { 'Content-Type' => 'application/json' });

    is($post->{status}, 429, 'by POST it is 429');
    is($backend->asked, 0, 'and the backend is not asked');

    is(publish($ann, @at, key => 'known')->{ok}{duplicate}, 1, 'a known key is known');
    is(code(publish($ann, @at)), 'ok', 'it publishes without a key');
    is(code(publish($none, @at, key => 'none')), 'ok', 'another has keys');
    is($backend->asked, 3, 'for these the backend is asked');

    # the backend itself takes all that there is

    for my $n (0 .. 5000) {
        my $post = $http->post('/api/channels/asked/messages', 0,
                               headers => { 'Fanout-Key' => "api$n" });

        last if $post->{status} != 201;
    }

    $backend->forget;
    $r = publish($nginx->native(path => '/asks?user=eve', local => '127.0.0.3'), @at,
                 key => 'eve');
    is(code($r), 'zone_full', 'without room for keys one is refused');
    is($backend->asked, 0, 'and the backend is not asked');
};


done_testing();
