#!/usr/bin/env perl

# What the scenarios S2, S3 and S5 say of access, rates, the audit log and
# privacy, each with a configuration that an application would have. If this
# fails, somebody reads or writes what is not his, sends as fast as he likes,
# leaves no trace, or is seen by whom he does not want to see him.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Fanout::JSON;
use Fanout::JWT;
use Fanout::Nginx;


my $secret = 'what only the application knows';

my $nginx = Fanout::Nginx->start(
    workers => 2,
    http    => <<'END',
        fanout_zone app 16m;
        fanout_channel app wedding:* history=50 presence=on records=old locks=30s
                       guard=on;
        fanout_channel app * history=50 presence=on records=old publish=members;
        fanout_log %%DIR%%/audit.log events=auth,deny,change,conflict,kick;
END
    server => <<"END",
        fanout_budget off;
        location = /token {
            fanout          app;
            fanout_jwt      'secret=$secret' from=subprotocol from=header leeway=0s;
            fanout_user     \$fanout_claim_sub;
            fanout_user_info name=\$fanout_claim_name;
            fanout_permit   all list:\$fanout_claim_own;
            fanout_permit   join,history,presence list:\$fanout_claim_read;
            fanout_channels_per_session 50;
        }
        location = /slow {
            fanout          app;
            fanout_jwt      'secret=$secret' from=subprotocol from=header;
            fanout_user     \$fanout_claim_sub;
            fanout_permit   all list:\$fanout_claim_own;
            fanout_budget   user commands=5/s burst=2s;
        }
        location /api/ { fanout_api app; }
END
);

my $http = $nginx->http;


sub token {
    my ($sub, %claims) = @_;

    return Fanout::JWT::sign('HS256', $secret, {
        sub => $sub, name => "Name of $sub", exp => CORE::time() + 600,
        own => [], read => [], %claims });
}

sub connected {
    my ($sub, %claims) = @_;

    return $nginx->native(path => '/token', token => token($sub, %claims));
}

sub code {
    my ($r) = @_;

    return $r->{error} ? $r->{error}{code} : 'ok';
}

# the lines of the audit log that have these values

sub audited {
    my (%of) = @_;
    my @lines;

    Fanout::Nginx::wait_for(sub {
        @lines = grep {
            my $line = $_;
            !grep { ($line->{$_} // '') ne $of{$_} } keys %of;
        } map { Fanout::JSON::decode($_) }
          split /\n/, Fanout::Nginx::slurp($nginx->dir . '/audit.log');
        return scalar @lines;
    }, 5);

    return @lines;
}


subtest 'S2: the sender must be a participant' => sub {
    my $ann = connected('ann', own => [ 'session:7' ]);
    my $eve = connected('eve', own => [ 'session:8' ]);

    $ann->ok('join', channel => 'session:7', presence => {});
    is(code($eve->cmd('join', channel => 'session:7')), 'forbidden',
       'who is not can\'t read');
    is(code($eve->cmd('publish', channel => 'session:7', data => 1)), 'forbidden',
       'nor send');
    is(code($eve->cmd('publish', channel => 'session:8', data => 1)),
       'forbidden', 'nor who is not there');
    is((audited(user => 'eve', op => 'publish', channel => 'session:7'))[0]{rule},
       'fanout_permit publish', 'the audit log has it');

    my @replies = $ann->batch(map {
        { op => 'publish', channel => 'session:7', data => $_,
          key => "k$_" }
    } 1 .. 50);

    is(scalar(grep { $_->{ok} } @replies), 50, 'a queue of 50 fits the burst');
};


subtest 'S2: a session that expires during use' => sub {
    my $ann = connected('ann', own => [ 'session:7' ], exp => CORE::time() + 2);

    $ann->ok('join', channel => 'session:7', presence => {});
    is($ann->wait_close(10), 4401, 'is closed');
    is($nginx->ws(path => '/token', expect => undef, subprotocols => [
        'fanout.v1', 'fanout.token.' . token('ann', exp => CORE::time() - 5)
    ])->status, 401, 'and does not come back with the same');
};


subtest 'S3: tokens, tables, a log' => sub {
    is($nginx->ws(path => '/token', expect => undef)->status, 401,
       'nobody without a token');

    my $ann = connected('ann', own => [ 'table:1' ], read => [ 'table:2' ]);

    $ann->ok('join', channel => $_, presence => {}) for 'table:1', 'table:2';
    is(code($ann->cmd('set', channel => 'table:1', record => 'r',
                      set => { a => 1 })), 'ok', 'a table to write');
    is(code($ann->cmd('set', channel => 'table:2', record => 'r',
                      set => { a => 1 })), 'forbidden', 'one to read');
    is(code($ann->cmd('join', channel => 'table:3')), 'forbidden', 'none else');
    is(code($ann->cmd('get', channel => 'table:3')), 'forbidden', 'by no command');

    is(scalar audited(event => 'change', user => 'ann', channel => 'table:1',
                      name => 'r'), 1, 'the log has who has changed it');
    is((audited(user => 'ann', channel => 'table:2', op => 'record'))[0]{rule},
       'fanout_permit record', 'and what was refused');
};


subtest 'S5: a token that is refreshed; access by channel' => sub {
    my $ann = connected('ann', own => [ 'wedding:1', 'couple:1' ]);

    $ann->ok('join', channel => $_, presence => {}) for 'wedding:1', 'couple:1';
    ok($ann->ok('auth', token => token('ann', own => [ 'wedding:1' ])),
       'without a disconnect');
    is($ann->next_where(sub { $_[0]{left} }, 5)->{channel}, 'couple:1',
       'what it allows no more ends');
    ok($ann->ok('publish', channel => 'wedding:1', data => 1), 'the rest goes on');
    is(scalar audited(event => 'auth', user => 'ann'), 1, 'the log has it');
    is(code($ann->cmd('auth', token => token('eve', own => [ '*' ]))),
       'forbidden', 'not that of another user');
};


subtest 'S5: 50 channels, a rate for each user' => sub {
    my $ann = connected('ann', own => [ 'supplier:*' ]);

    is(join(' ', map { code($ann->cmd('join', channel => "supplier:$_:team")) }
            1 .. 51), 'ok ' x 50 . 'too_many', 'the 51st channel');

    my @c = map { $nginx->native(path => '/slow',
                                 token => token($_, own => [ 'supplier:1' ])) }
            'bob', 'bob', 'cat';

    my @codes = map { code($_->cmd('ping')) } (@c[0, 1]) x 20;

    ok((grep { $_ eq 'rate_limited' } @codes), 'a user with two sessions');
    is(code($c[2]->cmd('ping')), 'ok', 'not another one');
};


subtest 'S5: anonymous, or not seen' => sub {
    my $bob = connected('bob', own => [ 'wedding:2' ]);
    my @c = (channel => 'wedding:2');

    $bob->ok('join', @c);

    my $ann = connected('ann', own => [ 'wedding:2' ]);

    $ann->ok('join', @c, presence => {}, anonymous => Fanout::JSON::true);
    $ann->ok('publish', @c, data => 'hi');
    $ann->ok('lock', @c, name => 'r.a');
    $ann->ok('set', @c, record => 'r', set => { a => 1 });

    my @told;

    while (my $p = $bob->next_push(1)) {
        push @told, $p;
    }

    cmp_ok(scalar @told, '>=', 4, 'all is told');
    unlike(Fanout::JSON::encode(\@told), qr/ann\b/, 'but not who it is');
    unlike(Fanout::JSON::encode($bob->ok('members', @c)), qr/ann\b/,
           'nor among the members');

    $ann->ok('presence', @c, data => undef);
    Fanout::Nginx::wait_for(sub {
        !@{ $bob->ok('members', @c)->{members} }
    }, 5);
    is(scalar @{ $bob->ok('members', @c)->{members} }, 0, 'nor seen at all');
    ok($ann->ok('publish', @c, data => 'still here'), 'who goes on');
};


$nginx->done_testing;
