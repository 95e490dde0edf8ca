#!/usr/bin/env perl

# Who is there, asked from outside: members of a channel, a client, a user, and
# taking them away. If this fails, a backend can't tell who is online, or whom
# it throws out stays.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 16m idle=1s;
        fanout_channel app room:*  presence=on linger=30s batch=0 history=10
                                   seen=10m;
        fanout_channel app brief:* presence=on linger=0 batch=0;
        fanout_channel app count:* presence=summary batch=0;
        fanout_channel app *       history=10;
END
    server => <<'END',
        location /realtime {
            fanout app;
            fanout_user $arg_user;
            fanout_user_info name=$arg_user;
            fanout_permit all *;
        }
        location /raw   { fanout app; fanout_dialect raw; fanout_permit all *; }
        location /api/  { fanout_api app; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $http = $nginx->http;

sub client {
    my ($worker, $user) = @_;

    return $nginx->native(worker => $worker, path => "/realtime?user=$user");
}

sub get    { $http->get("/api/$_[0]")->json }
sub status { $http->get("/api/$_[0]")->{status} }
sub enter  { $_[0]->ok('join', channel => $_[1], presence => $_[2] // {}) }

sub until_true {
    my ($what, $name) = @_;

    for (1 .. 400) {
        return pass($name) if $what->();
        select undef, undef, undef, 0.025;
    }

    fail($name);
}

# why it left, as another is told; one entry may tell of several

my %left;

sub left {
    my ($ws, $client) = @_;

    while (!$left{$ws->client}{$client}) {
        my $push = $ws->next_where(sub { $_[0]{presence} })
            or return 'nothing';

        $left{$ws->client}{$_->{client}} = $_->{reason}
            for @{ $push->{presence}{left} || [] };
    }

    return $left{$ws->client}{$client};
}


subtest 'members' => sub {
    my @ws = map { client($_ % 2 ? $one : $two, "u$_") } 1 .. 9;

    enter($ws[$_], 'room:1', { n => $_ }) for 0 .. 8;

    my $all = get('channels/room%3A1/presence');

    is(@{ $all->{members} }, 9, 'all');
    is($all->{count}, 9, 'and how many');
    is($all->{presence}, 'on', 'and how it is kept');
    is_deeply([ map { $_->{slot} } @{ $all->{members} } ], [ 0 .. 8 ],
              'by slot');
    is($all->{members}[3]{client}, $ws[3]->client, 'whose is it');
    is($all->{members}[3]{user}, 'u4', 'by name');
    is_deeply($all->{members}[3]{data}, { n => 3 }, 'with data');
    is_deeply($all->{members}[3]{info}, { name => 'u4' }, 'and profile');
    is_deeply($ws[0]->ok('members', channel => 'room:1')->{members},
              $all->{members}, 'as subscribers are told');

    my (@paged, $cursor);

    for (1 .. 9) {
        my $page = get('channels/room%3A1/presence?limit=2'
                       . ($cursor ? "&cursor=$cursor" : ''));
        push @paged, @{ $page->{members} };
        $cursor = $page->{cursor} // last;
    }

    is_deeply(\@paged, $all->{members}, 'in pages');

    my $one_user = get('channels/room%3A1/presence?user=u2');
    is(@{ $one_user->{members} }, 1, 'of one user');
    is($one_user->{members}[0]{user}, 'u2', 'that one');

    my $sum = get('channels/room%3A1/presence?summary=1');
    is_deeply($sum->{members}, [], 'a summary has no members');
    is($sum->{count}, 9, 'but their number');

    $ws[8]->cut;
    until_true(sub {
        (grep { $_->{lingers} }
         @{ get('channels/room%3A1/presence')->{members} }) == 1;
    }, 'one whose connection broke lingers');

    for (qw( room:0=on count:0=summary other=off )) {
        my ($name, $mode) = split /=/;
        $ws[0]->ok('publish', channel => $name, data => 1);
        is(get("channels/$name/presence")->{presence}, $mode,
           "how it is kept where nobody is: $mode");
    }

    is(status('channels/none/presence'), 404, 'a channel that is not there');
    is(status('channels/room%3A1/presence?cursor=x'), 400, 'a bad cursor');
    is($http->post('/api/channels/room%3A1/presence', '{}')->{status}, 405,
       'only to be read');
};


subtest 'only counted' => sub {
    my @ws = map { client($_ % 2 ? $one : $two, "c$_") } 1 .. 3;

    enter($_, 'count:1') for @ws;

    my $all = get('channels/count%3A1/presence');
    is($all->{presence}, 'summary', 'so it is kept');
    is($all->{count}, 3, 'how many');
    is_deeply($all->{members}, [], 'not who');
};


subtest 'last seen' => sub {
    my $ws = client($one, 'ann');
    my $stays = client($two, 'bob');

    enter($stays, 'room:seen');
    is(get('channels/room%3Aseen/presence?user=ann')->{seen}, undef,
       'never there');

    enter($ws, 'room:seen');
    my $there = get('channels/room%3Aseen/presence?user=ann');
    is($there->{seen}, undef, 'there now: the member says it');
    ok($there->{members}[0]{seen}, 'which it does');

    $ws->ok('leave', channel => 'room:seen');
    is(left($stays, $ws->client), 'intentional', 'left');

    my $seen = get('channels/room%3Aseen/presence?user=ann')->{seen};
    cmp_ok($seen // 0, '>=', $there->{members}[0]{seen}, 'seen until then');

    enter($ws, 'room:seen');
    my $later = client($one, 'later');
    enter($later, 'room:seen');

    my $page = get('channels/room%3Aseen/presence?user=ann&limit=1');
    is(@{ $page->{members} }, 1, 'there again, on a page of one');
    my $end = get('channels/room%3Aseen/presence?user=ann&limit=1'
                  . "&cursor=$page->{cursor}");
    is_deeply([ $end->{members}, $end->{seen} ], [ [], undef ],
              'that no more is on the next does not say who is away');

    $_->close(1000) for $ws, $stays, $later;
    until_true(sub { status('channels/room%3Aseen/presence') == 404 },
               'nobody is there any more, and the channel is forgotten');
    my $away = get('channels/room%3Aseen/presence?user=ann');
    cmp_ok($away->{seen} // 0, '>=', $seen, 'but not when he was there');
    is_deeply([ @$away{qw( members count presence )} ], [ [], 0, 'on' ],
              'as of a channel with nobody');
    is(status('channels/room%3Aseen/presence?user=nobody'), 404,
       'who was never there is not');
};


subtest 'a client and a user' => sub {
    my $a = client($one, 'dora');
    my $b = client($two, 'dora');

    enter($a, 'room:x');
    $a->ok('join', channel => 'plain "quoted"');
    enter($b, 'room:y');

    my $c = get('clients/' . $a->client);
    is($c->{user}, 'dora', 'its user');
    is_deeply($c->{info}, { name => 'dora' }, 'and profile');
    is($c->{state}, 'live', 'it lives');
    is($c->{worker}, $one, 'in this worker');
    is_deeply([ sort @{ $c->{channels} } ], [ 'plain "quoted"', 'room:x' ],
              'on these channels');

    my $u = get('users/dora');
    is($u->{user}, 'dora', 'a user');
    is_deeply([ sort map { $_->{client} } @{ $u->{clients} } ],
              [ sort $a->client, $b->client ], 'has these clients');
    is_deeply([ sort map { @{ $_->{channels} } } @{ $u->{clients} } ],
              [ 'plain "quoted"', 'room:x', 'room:y' ],
              'on these channels, whatever the worker');

    my $page = get('users/dora?limit=1');
    is(@{ $page->{clients} }, 1, 'a page');
    my $next = get("users/dora?limit=1&cursor=$page->{cursor}");
    isnt($next->{clients}[0]{client}, $page->{clients}[0]{client},
         'and the next');

    $b->cut;
    until_true(sub { get('clients/' . $b->client)->{state} eq 'lingers' },
               'one whose connection broke lingers');

    is(status('clients/c_0000000000000001'), 404, 'no such client');
    is(status('clients/xyz'), 400, 'no client at all');
    is(status('users/nobody'), 404, 'no such user');
    is(status('users/a%0Ab'), 400, 'no user at all');
};


subtest 'thrown out of a channel' => sub {
    for my $worker ($one, $two) {
        my $ws = client($worker, "out$worker");
        my $sees = client($one, 'sees');

        enter($ws, 'room:out');
        $ws->ok('join', channel => 'room:else');
        enter($sees, 'room:out');

        my $r = $http->delete('/api/clients/' . $ws->client
                              . '?channel=room:out');
        is($r->{status}, 200, 'done');
        is_deeply($r->json, { left => 1 }, 'for one');
        is(left($sees, $ws->client), 'kicked', 'others are told why');

        my $told = $ws->next_where(sub { $_[0]{left} });
        is($told->{channel}, 'room:out', 'and it, of which channel');
        is($told->{left}{reason}, 'kicked', 'and why');

        is($ws->cmd('leave', channel => 'room:out')->{error}{code},
           'not_joined', 'it is out');
        is_deeply($ws->ok('leave', channel => 'room:else'), {},
                  'of that alone');

        is($http->delete('/api/clients/' . $ws->client . '?channel=room:out')
           ->{status}, 404, 'not twice');
    }
};


subtest 'disconnected' => sub {
    my $sees = client($one, 'sees');
    enter($sees, 'room:dis');

    my @ws = map { client($_, 'erik') } $one, $two, $one;
    enter($_, 'room:dis') for @ws;

    is_deeply($http->delete('/api/clients/' . $ws[0]->client)->json,
              { disconnected => 1 }, 'one client');
    is($ws[0]->wait_close, 4403, 'is told by the close');
    is(left($sees, $ws[0]->client), 'kicked', 'others see why');

    $ws[2]->cut;
    until_true(sub { get('clients/' . $ws[2]->client)->{state} eq 'lingers' },
               'one lingers');

    is_deeply($http->delete('/api/users/erik')->json, { disconnected => 2 },
              'all of a user, those who linger too');
    is($ws[1]->wait_close, 4403, 'told');

    for my $ws (@ws[1, 2]) {
        is(left($sees, $ws->client), 'kicked', 'gone');
    }

    until_true(sub { status('users/erik') == 404 }, 'the user is gone');

    my $back = $nginx->native(path => '/realtime?user=erik',
                              resume => $ws[1]->resume);
    ok(!$back->welcome->{resumed}, 'and does not come back as before');
};


subtest 'a channel is closed' => sub {
    my @ws = map { client($_, "close$_") } $one, $two;
    my $raw = $nginx->ws(path => '/raw?channel=room:close');

    enter($_, 'room:close') for @ws;
    $ws[0]->ok('publish', channel => 'room:close', data => 1);

    my $r = $http->delete('/api/channels/room%3Aclose?close=1&reason=over');
    is($r->{status}, 200, 'done');

    for my $ws (@ws) {
        my $reset = $ws->next_where(sub { $_[0]{reset} });
        is($reset->{reset}{reason}, 'over', 'why');
        is($ws->next_where(sub { $_[0]{left} })->{left}{reason}, 'kicked',
           'and that it is out');
        is($ws->cmd('leave', channel => 'room:close')->{error}{code},
           'not_joined', 'which it is');
        is_deeply($ws->ok('join', channel => 'room:close', history => 10)
                  ->{messages}, [], 'it may join again, and nothing is left');
    }

    is($raw->wait_close, 1012, 'a raw client is closed');
    is($http->delete('/api/channels/none?close=1')->{status}, 404,
       'a channel that is not there');
};

is_deeply([ $nginx->worker_pids ], [ $one, $two ], 'the workers live');

done_testing();
