#!/usr/bin/env perl

# What the scenario S5 says of a form that several people fill in: locks of
# fields, what is saved, lists, versions and a rollback, unread notifications. If
# this fails, one overwrites what another is typing, a lock stays after its
# holder has left, or what was before can't be had again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 16m;
        fanout_channel app form:* records=old locks=30s guard=on presence=on
                                  linger=1s history=100 ttl=1h;
        fanout_channel app user:* records=on history=100 ttl=1h;
END
    server => <<'END',
        location /realtime {
            fanout app;
            fanout_user $arg_user;
            fanout_permit all form:*;
            fanout_permit all user:$arg_user;
            fanout_resume 1m;
        }
        location /api { fanout_api app; }
END
);

my @workers = $nginx->worker_pids;

sub client {
    my ($user, $worker, %more) = @_;

    return $nginx->native(path => "/realtime?user=$user", worker => $workers[$worker], %more);
}

my $form = 'form:7';
my %is   = (ann => client('ann', 0), bob => client('bob', 1));

$_->ok('join', channel => $form) for values %is;

sub cmd {
    my ($who, $op, %more) = @_;

    return $is{$who}->cmd($op, channel => $form, %more);
}

sub ok_of { my $r = cmd(@_); return $r->{ok} || die "$_[0] $_[1]: $r->{error}{code}\n" }

# the next that one is told of a lock, or of a record

sub told {
    my ($who, $what) = @_;

    my $push = $is{$who}->next_where(sub { $_[0]{$what} });

    return $push && ($what eq 'lock' ? $push->{lock} : $push);
}


subtest 'a field is locked for 30 s: others see who has it' => sub {
    my $ok = ok_of('ann', lock => name => 'guests.count', data => { color => 'red' });

    ok($ok->{expires} - $is{ann}->ok('ping')->{time} <= 30_000, 'for 30 s at most');

    my $lock = told('bob', 'lock');

    is($lock->{holder}{user}, 'ann', 'bob sees who');
    is($lock->{holder}{data}{color}, 'red', 'and her colour');

    my $r = cmd('bob', lock => name => 'guests.count');
    is($r->{error}{code}, 'locked', 'he gets none');
    is($r->{error}{data}{holder}{user}, 'ann', 'and is told why');

    is(cmd('bob', set => record => 'guests', set => { count => 5 })->{error}{code}, 'locked',
       'nor can he save the field');
    ok(cmd('bob', set => record => 'guests', set => { place => '"x"' })->{ok}, 'but another one');
};


subtest 'it is released by what is saved' => sub {
    my $ok = ok_of('ann', set => record => 'guests', set => { count => 80 },
                   release => 'guests.count');
    is($ok->{version}, 2, 'ann saves');

    my $lock = told('bob', 'lock');
    is($lock->{holder}, undef, 'bob sees that it is free');
    is($lock->{reason}, 'released', 'because she has saved');
    ok(cmd('bob', set => record => 'guests', set => { count => 81 })->{ok}, 'now he can');
};


subtest 'by a leave, by a cut, by time' => sub {
    for my $how (qw( leave cut time )) {
        my $cem = client('cem', 1);

        $cem->ok('join', channel => $form);
        $cem->ok('lock', channel => $form, name => $how, $how eq 'time' ? (ttl => 700) : ());
        told('bob', 'lock');

        my $wait = $is{ann}->send_cmd('lock', channel => $form, name => $how,
                                      wait => 60_000);

        $cem->ok('leave', channel => $form) if $how eq 'leave';
        $cem->disconnect if $how eq 'cut';

        my $r = $is{ann}->reply($wait, 20);
        ok($r && $r->{ok}, "$how: who waits has it");

        my $lock = told('bob', 'lock');
        is($lock->{holder}{user}, 'ann', "$how: bob sees it");
        is($lock->{reason}, $how eq 'time' ? 'expired' : 'left', "$how: and why");

        ok_of('ann', unlock => name => $how);
        told('bob', 'lock');
        $cem->disconnect if $how ne 'cut';
    }
};


subtest 'a warning before something is overwritten' => sub {
    my $base = ok_of('ann', get => record => 'guests')->{records}{guests}{version};

    ok_of('bob', set => record => 'guests', set => { count => 90 });

    my $r = cmd('ann', set => record => 'guests', base => $base, set => { count => 70 });

    is($r->{error}{code}, 'conflict', 'ann is warned');
    is($r->{error}{data}{rejected}{count}{value}, 90, 'with what is there');
    is($r->{error}{data}{rejected}{count}{user}, 'bob', 'and who did it');

    ok_of('ann', set => record => 'guests', mode => 'overwrite', set => { count => 70 });
    is(ok_of('bob', get => record => 'guests')->{records}{guests}{fields}{count}, 70,
       'if she wants to, the last writer wins');
};


subtest 'lists are appended to' => sub {
    my @ids = map { $is{$_->[0]}->send_cmd('set', channel => $form, record => 'tasks', base => 0,
                                           append => { todo => [ $_->[1] ] }) }
              [ ann => 'cake' ], [ bob => 'music' ];

    ok($is{ann}->reply($ids[0])->{ok} && $is{bob}->reply($ids[1])->{ok},
       'two at the same time, on any base');
    is_deeply([ sort @{ ok_of('ann', get => record => 'tasks')->{records}{tasks}{fields}{todo} } ],
              [ 'cake', 'music' ], 'nothing is lost');
};


subtest 'versions, and back to one of them' => sub {
    ok_of('ann', set => record => 'plan', set => { text => "v$_", n => $_ }) for 1 .. 4;

    my $all = ok_of('bob', history => record => 'plan', limit => 10)->{messages};

    is_deeply([ map { "$_->{version} $_->{set}{text}" } reverse @$all ],
              [ map { "$_ v$_" } 1 .. 4 ], 'all versions are there');

    my ($third) = grep { $_->{version} == 3 } @$all;

    is($third->{old}{text}, 'v2', 'with what was before');
    is($third->{from}{user}, 'ann', 'and who it was');

    # what was before the third version

    ok_of('bob', set => record => 'plan', base => 4, mode => 'reject', set => $third->{old});
    is_deeply(ok_of('ann', get => record => 'plan')->{records}{plan},
              { version => 5, fields => { text => 'v2', n => 2 } }, 'a rollback is a version');
};


subtest 'notifications: unread, and a mark of what was read' => sub {
    my $http = $nginx->http;

    $http->post('/api/channels/user:bob/messages', qq({"n":$_})) for 1 .. 5;

    my $join = $is{bob}->ok('join', channel => 'user:bob', history => 50);
    my @n = map { $_->{offset} } @{ $join->{messages} };

    is(scalar @n, 5, 'five are unread');
    $is{bob}->ok('set', channel => 'user:bob', record => 'read', set => { offset => $n[2] });

    # another device

    my $phone = client('bob', 0);
    my $state = $phone->ok('join', channel => 'user:bob', history => 50);
    my $read  = $state->{records}{read}{fields}{offset};

    is((grep { $_->{offset} > $read && !$_->{record} } @{ $state->{messages} }) + 0, 2,
       'two on the telephone');
    is($is{ann}->cmd('join', channel => 'user:bob')->{error}{code}, 'forbidden',
       'nobody else has them');
};


$nginx->done_testing;
