#!/usr/bin/env perl

# What becomes of members when a reload changes presence=, and of those of a
# client that comes back. If this fails, after a change of the configuration
# people see an empty list of a full room, or joins that hang; or a client that
# came back may not publish where members may, or stays for ever.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


sub config {
    my ($a, $b) = @_;

    return http => <<"END";
        fanout_zone app 16m;
        fanout_channel app a:*   presence=$a linger=30s batch=20ms;
        fanout_channel app b:*   presence=$b linger=30s batch=20ms;
        fanout_channel app sum:* presence=summary linger=30s batch=20ms
                                 publish=members expire=2s;
        fanout_channel app on:*  presence=on linger=30s batch=20ms
                                 publish=members expire=2s;
        fanout_channel app p:*   presence=on linger=1s batch=20ms;
        fanout_channel app q:*   presence=on linger=30s batch=20ms;
END
}

my $nginx = Fanout::Nginx->start(
    config('on', 'summary'),
    server => <<'END',
        location /realtime {
            fanout app;
            fanout_user $arg_user;
            fanout_permit all *;
            fanout_drain 100ms;
        }
        location /api/ { fanout_api app; }
END
);

my $http = $nginx->http;

sub client {
    my ($user, %o) = @_;

    return $nginx->native(path => "/realtime?user=$user", %o);
}

sub come_back {
    my ($ws, $user) = @_;

    my $back = client($user, resume => $ws->resume);
    ok($back->welcome->{resumed}, "$user came back");

    return $back;
}

sub users { [ sort map { $_->{user} } @{ $_[0]{members} || [] } ] }

sub count { $http->get("/api/channels/$_[0]/presence")->json->{count} }


subtest 'a reload changes how members are kept' => sub {
    my ($ann, $bob) = map { client($_) } qw( ann bob );

    for my $ws ($ann, $bob) {
        $ws->ok('join', channel => $_, presence => {}) for qw( a:1 b:1 );
    }

    $nginx->reload(config('summary', 'on'), wait_old => 1);

    ($ann, $bob) = (come_back($ann, 'ann'), come_back($bob, 'bob'));

    my $eve = client('eve');

    for my $ws ($ann, $bob, $eve) {
        my @as = $ws == $eve ? (presence => {}) : ();
        my $n = $ws == $eve ? 3 : 2;

        my $list = $ws->ok('join', channel => 'a:1', @as);
        is(@{ users($list) }, $n, 'who was listed is listed');
        ok(!exists $list->{summary}, 'and not counted');

        my $count = $ws->ok('join', channel => 'b:1', @as);
        is_deeply($count->{summary}, { members => $n },
                  'who was counted is counted');
        ok(!exists $count->{members}, 'and not listed');
    }

    is_deeply(users($bob->ok('members', channel => 'a:1')),
              [qw( ann bob eve )], 'members: the list');
    is_deeply($bob->ok('members', channel => 'b:1')->{summary},
              { members => 3 }, 'members: the number');

    $ann->close(1000);
    my $p = $bob->next_where(sub { $_[0]{presence}{left} });
    is($p && $p->{presence}{left}[0]{user}, 'ann', 'told as in a list');
    ok($bob->next_where(sub {
           my $s = $_[0]{presence}{summary};
           return $s && $s->{members} == 2;
       }), 'told as a number');

    # the last ones leave, and somebody who is none goes on to look

    my $watch = client('watch');
    $watch->ok('join', channel => $_) for qw( a:1 b:1 );
    $_->close(1000) for $bob, $eve;

    for my $at (qw( a:1 b:1 )) {
        ok(wait_for(sub { !count($at) }), "$at: all have left");
    }

    # until then, members are kept as they were

    my ($left, $zero) = (0, 0);

    ok($watch->next_where(sub {
           my $p = $_[0]{presence} or return 0;

           $left += @{ $p->{left} || [] };
           $zero ||= $p->{summary} && $p->{summary}{members} == 0;
           return $zero && $left == 2;
       }), 'which is told');

    my $new = client('new');
    is_deeply($new->ok('join', channel => 'a:1', presence => {})->{summary},
              { members => 1 }, 'now it counts');
    is_deeply(users($new->ok('join', channel => 'b:1', presence => {})),
              ['new'], 'now it lists');
    is_deeply($watch->ok('members', channel => 'a:1')->{summary},
              { members => 1 }, 'also for who was there before');
    is_deeply(users($watch->ok('members', channel => 'b:1')), ['new'],
              'and so it lists');
};


subtest 'members of a client that came back' => sub {
    for my $at (qw( sum:1 on:1 )) {
        my ($ws, $watch) = (client('dora'), client('watch'));

        $watch->ok('join', channel => $at);
        $ws->ok('join', channel => $at, presence => {});
        $ws->cut;

        my $back = come_back($ws, 'dora');
        $back->ok('join', channel => $at, want => ['messages']);

        ok($back->cmd('publish', channel => $at, data => 1)->{ok},
           "$at: may publish as a member");
        ok($watch->next_where(sub {
               my $p = $_[0]{presence} or return;
               return $p->{left} || $p->{summary} && !$p->{summary}{members};
           }, 20), 'leaves when it is silent');
        is($back->cmd('publish', channel => $at, data => 1)->{error}{code},
           'forbidden', 'and may not then');
    }
};


subtest 'places that are not taken again' => sub {
    my ($ws, $watch) = (client('fred'), client('watch'));
    my @at = qw( p:1 p:2 q:1 other );

    $watch->ok('join', channel => $_) for @at;
    $ws->ok('join', channel => 'other');
    $ws->ok('join', channel => $_, presence => {}) for qw( p:1 p:2 q:1 );
    $ws->cut;

    my $back = come_back($ws, 'fred');
    my $to = { client => $back->client };

    $back->ok('join', channel => 'p:2');
    ok($watch->cmd('publish', channel => 'p:1', to => $to, data => 1)->{ok},
       'they are kept');

    my $p = $watch->next_where(sub { $_[0]{presence}{left} }, 20);
    is_deeply([ $p && map { $_->{channel}, $_->{presence}{left}[0]{reason} }
                      $p ],
              [ 'p:1', 'network' ], 'but not for ever');

    is($watch->cmd('publish', channel => 'p:1', to => $to,
                   data => 1)->{error}{code},
       'recipient_offline', 'who has left gets no messages');

    is_deeply([ sort @{ $http->get("/api/clients/$to->{client}")
                             ->json->{channels} } ],
              [ 'p:2', 'q:1' ], 'what it joined stays, and what may linger');

    $back->ok('join', channel => 'q:1');
    is(count('q:1'), 1, 'in time');
};
